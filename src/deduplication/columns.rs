//! The records, folded once and laid out for millions of comparisons: words as numbers, with their counts.
//!
//! Rows that say the same in every value are one *node*, so that a thousand identical rows cost one. A contact is always
//! a node of its own: two contacts are never joined by what they hold alone.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use docket_aggregates::contact::one_form;
use indexmap::IndexSet;
use sha2::{Digest, Sha256};

use super::keys::{KEYS_MAX, MatchKey, Normal};
use super::{MatchOn, Options, Record, RecordKey, RowError, RowErrors, threads};
use crate::normalise::name::is_generic;

/// Numbers texts in the order of their coming. 0 is the empty text: absent.
pub(super) struct Texts(IndexSet<Box<str>>);

/// What every comparison asks of a word, looked up once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    /// One bit for each letter that occurs.
    pub letters: u32,
    pub length: u8,
    pub has_digit: bool,
    pub is_generic: bool,
}

impl Word {
    fn of(text: &str) -> Self {
        let bit = |letter: char| match letter {
            'a'..='z' => letter as u32 - 'a' as u32,
            other => 26 + other as u32 % 6,
        };
        Self {
            letters: text.chars().fold(0, |set, letter| set | 1 << bit(letter)),
            length: u8::try_from(text.chars().count()).unwrap_or(u8::MAX),
            has_digit: text.bytes().any(|byte| byte.is_ascii_digit()),
            is_generic: is_generic(text),
        }
    }
}

impl Texts {
    fn new() -> Self {
        Self(IndexSet::from(["".into()]))
    }

    fn number(&mut self, text: &str) -> u32 {
        let at = match self.0.get_index_of(text) {
            Some(at) => at,
            None => self.0.insert_full(text.into()).0,
        };
        u32::try_from(at).expect("fewer than 2^32 texts, since records are counted by u32 and hold few each")
    }

    pub(super) fn text(&self, number: u32) -> &str {
        self.0.get_index(number as usize).map_or("", |text| text)
    }
}

/// A stretch of `Columns::words`.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    len: u8,
}

/// One distinct row, or one contact.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub is_contact: bool,
    /// How many rows say all this.
    pub rows: u32,
    pub email: u32,
    /// The digits of the E.164 form; 0 is absent.
    pub phone: u64,
    pub extension: u32,
    pub external: u32,
    pub city: u32,
    /// The sorted words of the person, and of the company, as one text.
    pub person_name: u32,
    pub company_name: u32,
    person: Span,
    company: Span,
    city_words: Span,
    /// Hashes of the keys that were asked for, in order; 0 is none.
    pub keys: [u64; KEYS_MAX],
    /// How many differently named nodes hold this node's phone number, and its e-mail address. At least 1.
    pub phone_holders: u16,
    pub email_holders: u16,
}

/// Names of one sort, counted.
#[derive(Default)]
pub(super) struct Counts {
    /// In how many different names a word occurs, by the word's number.
    words: Vec<u32>,
    /// How many nodes bear a name, by the name's number.
    names: Vec<u32>,
    /// How many different names there are.
    pub distinct: u32,
}

impl Counts {
    pub(super) fn of_word(&self, word: u32) -> u32 {
        self.words.get(word as usize).copied().unwrap_or(0)
    }

    pub(super) fn of_name(&self, name: u32) -> u32 {
        self.names.get(name as usize).copied().unwrap_or(0)
    }

    fn add(&mut self, name: u32, words: &[u32]) {
        if name == 0 {
            return;
        }
        let count = at(&mut self.names, name);
        *count += 1;
        if *count == 1 {
            self.distinct += 1;
            for word in words {
                *at(&mut self.words, *word) += 1;
            }
        }
    }
}

fn at(counts: &mut Vec<u32>, number: u32) -> &mut u32 {
    let place = number as usize;
    if counts.len() <= place {
        counts.resize(place + 1, 0);
    }
    &mut counts[place]
}

/// What is kept of a contact beside its node.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContactSeen {
    pub key: RecordKey,
    pub node: u32,
    pub suppressed: bool,
    pub in_campaign: bool,
}

/// Rows whose faults are kept, of either sort. The others are only counted.
const FAULTS_MAX: usize = 10_000;

pub(super) struct Columns {
    pub nodes: Vec<Node>,
    /// The node of each row; none for an invalid row.
    pub node_of_row: Vec<Option<u32>>,
    /// Of each row, whether it must not be contacted.
    pub suppressed: Vec<bool>,
    pub contacts: Vec<ContactSeen>,
    /// How many rows are invalid, and the first of them.
    pub invalid_count: u64,
    pub invalid: Vec<RowErrors>,
    /// The first rows that have an unreadable value beside a usable one.
    pub warnings: Vec<RowErrors>,
    pub persons: Counts,
    pub companies: Counts,
    /// How many nodes are in a city, by the city's number.
    pub cities: Vec<u32>,
    pub texts: Texts,
    pub emails: Texts,
    /// By the text's number, for texts that are words of names.
    known: Vec<Word>,
    words: Vec<u32>,
}

impl Columns {
    fn new() -> Self {
        Self {
            nodes: Vec::new(),
            node_of_row: Vec::new(),
            suppressed: Vec::new(),
            contacts: Vec::new(),
            invalid_count: 0,
            invalid: Vec::new(),
            warnings: Vec::new(),
            persons: Counts::default(),
            companies: Counts::default(),
            cities: Vec::new(),
            texts: Texts::new(),
            emails: Texts::new(),
            known: Vec::new(),
            words: Vec::new(),
        }
    }

    pub(super) fn word(&self, number: u32) -> Word {
        self.known.get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn person(&self, node: &Node) -> &[u32] {
        self.slice(node.person)
    }

    pub(super) fn company(&self, node: &Node) -> &[u32] {
        self.slice(node.company)
    }

    pub(super) fn city_words(&self, node: &Node) -> &[u32] {
        self.slice(node.city_words)
    }

    fn slice(&self, span: Span) -> &[u32] {
        let start = span.start as usize;
        &self.words[start..start + usize::from(span.len)]
    }

    fn count(&mut self) {
        let mut persons = Counts::default();
        let mut companies = Counts::default();
        let mut cities = Vec::new();
        for node in &self.nodes {
            persons.add(node.person_name, self.slice(node.person));
            companies.add(node.company_name, self.slice(node.company));
            *at(&mut cities, node.city) += 1;
        }
        self.known.resize(self.texts.0.len(), Word::default());
        for word in &self.words {
            let known = &mut self.known[*word as usize];
            if known.length == 0 {
                *known = Word::of(self.texts.text(*word));
            }
        }
        self.persons = persons;
        self.companies = companies;
        self.cities = cities;
    }
}

/// Records that are normalised before the next are: a bound on what is held twice.
const BATCH: usize = 2_048;
const RECORDS_FOR_THREADS: usize = 1_024;

/// The records' values, read by as many threads as is worth it, in order.
fn normalised(batch: &[Record], options: &Options) -> Vec<Normal> {
    let read = |part: &[Record]| part.iter().map(|record| Normal::read(record, options)).collect::<Vec<_>>();
    let count = threads(batch.len(), RECORDS_FOR_THREADS);
    if count < 2 {
        return read(batch);
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            batch.chunks(batch.len().div_ceil(count)).map(|part| scope.spawn(move || read(part))).collect();
        workers
            .into_iter()
            .flat_map(|worker| match worker.join() {
                Ok(normals) => normals,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// Takes records in, batch by batch. Nothing of a record is kept but what is compared.
pub(super) struct Reader {
    columns: Columns,
    /// Rows by a digest of all they say.
    seen: HashMap<[u8; 16], u32>,
    options: Options,
}

impl Reader {
    pub(super) fn new(options: Options) -> Self {
        Self { columns: Columns::new(), seen: HashMap::new(), options }
    }

    /// Rows, numbered in the order of their coming.
    pub(super) fn rows(&mut self, rows: &[Record]) {
        for batch in rows.chunks(BATCH) {
            for (record, normal) in batch.iter().zip(normalised(batch, &self.options)) {
                self.row(record.suppressed, normal);
            }
        }
    }

    pub(super) fn contacts(&mut self, contacts: &[Record]) {
        for batch in contacts.chunks(BATCH) {
            for (record, normal) in batch.iter().zip(normalised(batch, &self.options)) {
                self.contact(record, &normal);
            }
        }
    }

    /// Everything that was taken in, counted.
    pub(super) fn finish(self) -> (Columns, Options) {
        let Self { mut columns, options, seen } = self;
        drop(seen);
        columns.count();
        (columns, options)
    }

    fn row(&mut self, suppressed: bool, mut normal: Normal) {
        let row_index = u32::try_from(self.columns.node_of_row.len()).expect("rows are counted by u32");
        self.columns.suppressed.push(suppressed);
        let mut errors = std::mem::take(&mut normal.errors);
        let usable = self.options.match_on.iter().any(|kind| normal.has(*kind));
        if !usable {
            if errors.is_empty() {
                errors.push(RowError::NoKey);
            }
            self.columns.invalid_count += 1;
            keep(&mut self.columns.invalid, row_index, errors);
            self.columns.node_of_row.push(None);
            return;
        }
        if !errors.is_empty() {
            keep(&mut self.columns.warnings, row_index, errors);
        }
        let node = self.node(&normal, false);
        let digest = self.digest(&node);
        let next = self.next();
        let number = *self.seen.entry(digest).or_insert(next);
        if number == next {
            self.columns.nodes.push(node);
        }
        self.columns.nodes[number as usize].rows += 1;
        self.columns.node_of_row.push(Some(number));
    }

    fn contact(&mut self, record: &Record, normal: &Normal) {
        let node = self.node(normal, true);
        let number = self.next();
        self.columns.nodes.push(node);
        self.columns.contacts.push(ContactSeen {
            key: record.key,
            node: number,
            suppressed: record.suppressed,
            in_campaign: record.in_campaign,
        });
    }

    fn next(&self) -> u32 {
        u32::try_from(self.columns.nodes.len()).expect("an analysis is bounded far below 2^32 records")
    }

    fn node(&mut self, normal: &Normal, is_contact: bool) -> Node {
        let keys = self.keys(normal);
        let person_name = self.name(&normal.names.person);
        let company_name = self.name(&normal.names.company);
        let email = normal.email.as_ref().map_or("", |email| email.key());
        let phone = normal.phone.as_ref();
        Node {
            is_contact,
            rows: 0,
            email: self.columns.emails.number(email),
            phone: phone.and_then(|phone| one_form(phone.e164())[1..].parse().ok()).unwrap_or(0),
            extension: self
                .columns
                .texts
                .number(phone.and_then(|phone| phone.extension()).unwrap_or_default()),
            external: self.columns.texts.number(normal.external.as_deref().unwrap_or_default()),
            city: self.columns.texts.number(&normal.names.city.join(" ")),
            person_name,
            company_name,
            person: self.span(&normal.names.person),
            company: self.span(&normal.names.company),
            city_words: self.span(&normal.names.city),
            keys,
            phone_holders: 1,
            email_holders: 1,
        }
    }

    fn keys(&self, normal: &Normal) -> [u64; KEYS_MAX] {
        let mut hashes = [0; KEYS_MAX];
        let wanted = normal.keys().into_iter().filter(|key| self.options.match_on.contains(&key.match_on()));
        for (hash, key) in hashes.iter_mut().zip(wanted) {
            *hash = hashed(&key);
        }
        hashes
    }

    fn name(&mut self, words: &[String]) -> u32 {
        let mut sorted: Vec<&str> = words.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        self.columns.texts.number(&sorted.join(" "))
    }

    fn span(&mut self, words: &[String]) -> Span {
        let start =
            u32::try_from(self.columns.words.len()).expect("few words a record, and records are bounded");
        for word in words {
            let number = self.columns.texts.number(word);
            self.columns.words.push(number);
        }
        Span { start, len: u8::try_from(words.len()).unwrap_or(u8::MAX) }
    }

    /// A digest of all that a node says. Not a hash map's hash: a file must not be able to make two rows one.
    fn digest(&self, node: &Node) -> [u8; 16] {
        let mut digest = Sha256::new();
        digest.update(node.phone.to_be_bytes());
        for number in [node.email, node.extension, node.external, node.city] {
            digest.update(number.to_be_bytes());
        }
        for words in [self.columns.person(node), self.columns.company(node)] {
            digest.update([u8::try_from(words.len()).unwrap_or(u8::MAX)]);
            words.iter().for_each(|word| digest.update(word.to_be_bytes()));
        }
        let mut short = [0; 16];
        short.copy_from_slice(&digest.finalize()[..16]);
        short
    }
}

fn keep(kept: &mut Vec<RowErrors>, row_index: u32, errors: Vec<RowError>) {
    if kept.len() < FAULTS_MAX {
        kept.push(RowErrors { row_index, errors });
    }
}

/// Not 0, which stands for none. Two keys with one hash only cost a comparison more.
fn hashed(key: &MatchKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.as_str().hash(&mut hasher);
    hasher.finish() | 1
}

impl Node {
    /// The number of the name that this node goes by: the person's, else the company's. 0 if it has none.
    pub(super) fn name(&self) -> u32 {
        if self.person_name == 0 { self.company_name } else { self.person_name }
    }

    pub(super) fn agrees(&self, other: &Self, kind: MatchOn) -> bool {
        match kind {
            MatchOn::Email => self.email != 0 && self.email == other.email,
            MatchOn::Phone => self.phone != 0 && self.phone == other.phone,
            MatchOn::ExternalId => self.external != 0 && self.external == other.external,
            MatchOn::NameCompany => self.name() != 0 && self.name() == other.name(),
        }
    }
}
