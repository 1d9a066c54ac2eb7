//! Weighing a pair: how likely are two records one contact?
//!
//! The scales are those of Fellegi and Sunter (*A theory for record linkage*, 1969), with weights that depend on the value
//! (Winkler's frequency-based matching). Everything is counted in **bits**: one bit doubles the odds. Agreeing in a word that
//! one name in a thousand holds is worth ten bits; in a word that every tenth holds, three. How rare a word is, is counted
//! in the records at hand, the two names being weighed left out, and smoothed so that five rows do not pass for a population.
//!
//! There are two ways to be one, and the stronger counts:
//!
//! - **By a key** (the same e-mail address, phone number or external id). That two records share one is no accident, so the
//!   question is whether they are one or merely related: colleagues on a switchboard, a couple with one address. The key sets
//!   the odds, and the names decide. The more differently named records hold the key, the less it says.
//! - **By name.** Two records out of many are one only rarely, so the words must outweigh the size of the crowd; what
//!   else they hold is for or against. A name without a witness, or with anything against it, is never certain enough to
//!   act on without review. The city is a witness for a person and none for a business, which may have two branches in it.

use super::columns::{Columns, Node};
use super::letters::{at_most_one_slip, jaro_winkler};
use super::names::{BACKGROUND_NAMES, EXTRA_SHARE, NameScales, Names, Sort};
use super::{MatchOn, Options};

/// What the comparison of a pair came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weighed {
    /// The logarithm to base 2 of the odds that the two are one.
    pub bits: f32,
    /// What they agree in, as a set of `1 << MatchOn`.
    pub agreed: u8,
    /// Each name has words that the other lacks, and no e-mail address or id says that they are one all the same.
    pub conflict: bool,
}

/// The probability for so many bits.
pub(super) fn probability(bits: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(bits)).exp2())
}

/// The bits for a probability.
pub(super) fn bits_of(probability: f64) -> f32 {
    (probability / (1.0 - probability)).log2() as f32
}

pub(super) const fn bit(kind: MatchOn) -> u8 {
    1 << kind as u8
}

/// What a record is known by rather than described.
pub(super) const KNOWN_BY: u8 = bit(MatchOn::Email) | bit(MatchOn::Phone) | bit(MatchOn::ExternalId);

/// What was asked for, as a set of bits.
pub(super) fn asked(options: &Options) -> u8 {
    options.match_on.iter().fold(0, |set, kind| set | bit(*kind))
}

// The odds that a shared key sets before names are looked at. Assumptions, not measurements: one shared e-mail address in
// 60, and one shared number in 12, joins two people.
const EMAIL_BITS: f32 = 6.0;
const EXTERNAL_ID_BITS: f32 = 7.0;
const PHONE_BITS: f32 = 3.5;
/// `info@`, `contact@`: a mailbox of a company rather than of a person.
const ROLE_MAILBOX_BITS: f32 = -3.0;
/// One of the two gives an extension, or they give different ones.
const ONE_EXTENSION_BITS: f32 = -1.5;
const OTHER_EXTENSION_BITS: f32 = -6.0;
/// Two ids of one system that differ, when ids were asked for.
const OTHER_ID_BITS: f32 = 3.0;
/// From so many names on, a number or address is nobody's own.
pub(super) const HOLDERS_MAX: u16 = 20;

/// Names less alike than this are not the same name, whatever else agrees: families and colleagues share all the rest.
const ALIKE: f32 = 0.6;
/// Words worth so much on either side are another name rather than noise.
const CONFLICT_BITS: f32 = 2.0;
/// As sure as a pair can be that a person must look at: a little below `CONFIDENT`.
pub(super) const UNSURE_BITS: f32 = 2.9;

/// Fewer records than this are weighed as if they were as many.
const CROWD_MIN: f32 = 64.0;

pub(super) struct Scales<'a> {
    columns: &'a Columns,
    persons: NameScales<'a>,
    companies: NameScales<'a>,
    match_external: bool,
    match_on: u8,
    crowd_bits: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum Agreement {
    Unknown,
    Same,
    Similar,
    Different,
}

impl<'a> Scales<'a> {
    pub(super) fn new(columns: &'a Columns, options: &Options) -> Self {
        Self {
            columns,
            persons: NameScales::new(columns, Sort::Person),
            companies: NameScales::new(columns, Sort::Company),
            match_external: options.match_on.contains(&MatchOn::ExternalId),
            match_on: asked(options),
            crowd_bits: (columns.nodes.len() as f32).max(CROWD_MIN).log2(),
        }
    }

    /// Whether the two go by names that have little in common, or are of one household.
    pub(super) fn contradict(&self, a: &Node, b: &Node) -> bool {
        entity(a, b, self.persons.compare(a, b), self.companies.compare(a, b))
            .is_some_and(|names| names.similarity < ALIKE || self.of_one_household(a, b, names))
    }

    /// Whether the two share nothing but a number, and each has a name and an address of its own: father and son, whose
    /// names differ by a word or by letters, as one name and its misspelling do.
    fn of_one_household(&self, a: &Node, b: &Node, names: Names) -> bool {
        let agree = |kind| a.agrees(b, kind);
        agree(MatchOn::Phone)
            && !agree(MatchOn::ExternalId)
            && !names.same
            && self.emails(a, b) == Agreement::Different
    }

    /// None if the two agree in nothing that was asked for, or in nothing that is worth a question.
    pub(super) fn weigh(&self, a: &Node, b: &Node) -> Option<Weighed> {
        self.weigh_by(self.match_on, a, b)
    }

    /// The same for two that agree in what a record is known by, whether that was asked for or not.
    pub(super) fn weigh_known_by(&self, a: &Node, b: &Node) -> Option<Weighed> {
        self.weigh_by(KNOWN_BY, a, b)
    }

    fn weigh_by(&self, asked: u8, a: &Node, b: &Node) -> Option<Weighed> {
        let person = self.persons.compare(a, b);
        let company = if person.is_none() { self.companies.compare(a, b) } else { None };
        let entity = entity(a, b, person, company);
        let mut agreed = 0;
        for kind in [MatchOn::Email, MatchOn::Phone, MatchOn::ExternalId] {
            if a.agrees(b, kind) {
                agreed |= bit(kind);
            }
        }
        let alike = entity.filter(|names| names.similarity >= ALIKE);
        if alike.is_some() {
            agreed |= bit(MatchOn::NameCompany);
        }
        if agreed & asked == 0 {
            return None;
        }
        // An id is one's own. A mailbox may be a couple's or an office's: whether somebody else or another name has it is
        // for a person to say.
        let other_name = entity.is_some_and(|names| names.conflict >= CONFLICT_BITS)
            && agreed & bit(MatchOn::ExternalId) == 0;
        let conflict = other_name && agreed & bit(MatchOn::Email) == 0;
        let by_key = self.by_key(a, b, agreed, person, company);
        let by_name = alike.map(|names| self.by_name(a, b, names));
        let bits = match (by_key, by_name) {
            (Some(key), Some(name)) => key.max(name),
            (Some(key), None) => key,
            // By name alone only what is likely is worth a question: every crowd has namesakes.
            (None, Some(name)) if name >= 0.0 => name,
            (None, _) => return None,
        };
        let somebody_else = other_name || entity.is_some_and(|names| self.of_one_household(a, b, names));
        let bits = if somebody_else { bits.min(UNSURE_BITS) } else { bits };
        Some(Weighed { bits, agreed: agreed & asked, conflict })
    }

    fn by_key(
        &self,
        a: &Node,
        b: &Node,
        agreed: u8,
        person: Option<Names>,
        company: Option<Names>,
    ) -> Option<f32> {
        let has = |kind| agreed & bit(kind) != 0;
        let (email, phone, external) = (has(MatchOn::Email), has(MatchOn::Phone), has(MatchOn::ExternalId));
        let mut bits = 0.0;
        let mut holders: u16 = 1;
        if email {
            let role = is_role_mailbox(self.columns.emails.text(a.email));
            bits += EMAIL_BITS + if role { ROLE_MAILBOX_BITS } else { 0.0 };
            holders = a.email_holders;
        }
        if phone {
            bits += PHONE_BITS
                + match (a.extension, b.extension) {
                    (one, other) if one == other => 0.0,
                    (0, _) | (_, 0) => ONE_EXTENSION_BITS,
                    _ => OTHER_EXTENSION_BITS,
                };
            holders = if email { holders.min(a.phone_holders) } else { a.phone_holders };
        }
        if external {
            bits += EXTERNAL_ID_BITS;
            holders = 1;
        }
        if !(email || phone || external) {
            return None;
        }
        bits -= crowd_bits(holders);
        let same_mailbox_or_id = email || external;
        match entity(a, b, person, company) {
            Some(names) => {
                // A shared mailbox or id outlives a change of name; a shared number does not.
                let share = if same_mailbox_or_id { 0.6 } else { 1.0 };
                bits += share * judged(names.similarity);
                if names.similarity < ALIKE && !same_mailbox_or_id && holders > HOLDERS_MAX {
                    return None;
                }
            }
            None if same_mailbox_or_id => {}
            None => {
                // One of them could be any of the holders.
                if holders > 1 {
                    bits -= 2.5;
                }
                if a.email != 0 && b.email != 0 {
                    bits -= 2.0;
                }
                // A company on one side, one of its people on the other.
                if (a.person_name == 0) != (b.person_name == 0) && company.is_some() {
                    bits -= 1.5;
                }
            }
        }
        if self.match_external && a.external != 0 && b.external != 0 && !external {
            bits -= OTHER_ID_BITS;
        }
        Some(bits)
    }

    fn by_name(&self, a: &Node, b: &Node, names: Names) -> f32 {
        let of_person = a.person_name != 0;
        let (conflict_share, other_city, other_phone) =
            if of_person { (1.5, 2.0, 2.0) } else { (1.0, 4.0, 4.0) };
        let mut tally = Tally { bits: names.agreed - self.crowd_bits, ..Tally::default() };
        tally.bits -= names.conflict * conflict_share + (names.extra * EXTRA_SHARE).min(8.0);

        if let Some(employer) = self.companies.compare(a, b).filter(|_| of_person) {
            match employer.similarity {
                alike if alike >= ALIKE => tally.add_for((employer.agreed * 0.6).min(8.0), true),
                alike if alike < ALIKE / 2.0 => tally.add_against(3.0),
                _ => {}
            }
        }
        // A person lives in one city; a business may have two branches in it, with one name.
        let city = self.city_bits(a.city).min(self.city_bits(b.city));
        match self.cities(a, b) {
            Agreement::Unknown => {}
            Agreement::Same => tally.add_for(city, of_person),
            Agreement::Similar => tally.add_for(city * 0.7, of_person),
            Agreement::Different => tally.add_against(other_city),
        }
        match phones(a, b) {
            Agreement::Same if a.phone_holders <= HOLDERS_MAX => {
                tally.add_for(6.0 - crowd_bits(a.phone_holders), true)
            }
            Agreement::Similar => tally.add_for(2.0, true),
            Agreement::Different => tally.add_against(other_phone),
            Agreement::Same | Agreement::Unknown => {}
        }
        match self.emails(a, b) {
            Agreement::Unknown => {}
            Agreement::Same => tally.add_for((8.0 - crowd_bits(a.email_holders)).max(0.0), true),
            Agreement::Similar => tally.add_for(5.0, true),
            Agreement::Different => tally.add_against(1.5),
        }
        if self.match_external && a.external != 0 && b.external != 0 && a.external != b.external {
            tally.add_against(OTHER_ID_BITS);
        }
        let incomplete = of_person && names.extra >= CONFLICT_BITS;
        let sure = tally.witnessed && !tally.against && !incomplete;
        if sure { tally.bits } else { tally.bits.min(UNSURE_BITS) }
    }

    fn city_bits(&self, city: u32) -> f32 {
        let there = self.columns.cities.get(city as usize).copied().unwrap_or(0) as f32;
        let all = self.columns.nodes.len() as f32;
        (((all + BACKGROUND_NAMES) / (there + 10.0)).log2() * 0.8).clamp(0.5, 8.0)
    }

    fn cities(&self, a: &Node, b: &Node) -> Agreement {
        if a.city == 0 || b.city == 0 {
            return Agreement::Unknown;
        }
        if a.city == b.city {
            return Agreement::Same;
        }
        let (one, other) = (self.columns.city_words(a), self.columns.city_words(b));
        let (few, many) = if one.len() <= other.len() { (one, other) } else { (other, one) };
        let (one, other) = (self.columns.texts.text(a.city), self.columns.texts.text(b.city));
        // `new york` and `new york city`, `lyon` and `lyon 3e`; `san francisco` and `san fransisco`.
        if few.iter().all(|word| many.contains(word)) || jaro_winkler(one, other) >= 0.93 {
            Agreement::Similar
        } else {
            Agreement::Different
        }
    }

    /// Two addresses that differ by a slip of the finger, or by their domain alone.
    fn emails(&self, a: &Node, b: &Node) -> Agreement {
        if a.email == 0 || b.email == 0 {
            return Agreement::Unknown;
        }
        if a.email == b.email {
            return Agreement::Same;
        }
        let split = |node: &Node| self.columns.emails.text(node.email).split_once('@').unwrap_or_default();
        let ((local_a, domain_a), (local_b, domain_b)) = (split(a), split(b));
        let close = |one: &str, other: &str| {
            one.len().abs_diff(other.len()) <= 1 && one.len() >= 5 && at_most_one_slip(one, other)
        };
        match (local_a == local_b, domain_a == domain_b) {
            (true, _) if close(domain_a, domain_b) => Agreement::Similar,
            (true, _) => Agreement::Unknown,
            (_, true) if close(local_a, local_b) => Agreement::Similar,
            _ => Agreement::Different,
        }
    }
}

/// The names that the two go by: their persons', or their companies' if neither names a person.
fn entity(a: &Node, b: &Node, person: Option<Names>, company: Option<Names>) -> Option<Names> {
    person.or(company.filter(|_| a.person_name == 0 && b.person_name == 0))
}

/// What beside the name speaks for a pair, and against it.
#[derive(Default)]
struct Tally {
    bits: f32,
    /// By something that namesakes do not share.
    witnessed: bool,
    against: bool,
}

impl Tally {
    fn add_for(&mut self, bits: f32, witness: bool) {
        self.bits += bits;
        self.witnessed |= witness;
    }

    fn add_against(&mut self, bits: f32) {
        self.bits -= bits;
        self.against = true;
    }
}

/// What a key loses by being shared. Two names may be two spellings; a third says that it is nobody's own.
fn crowd_bits(holders: u16) -> f32 {
    f32::from(holders.saturating_sub(1).max(1)).log2()
}

fn phones(a: &Node, b: &Node) -> Agreement {
    match (a.phone, b.phone) {
        (0, _) | (_, 0) => Agreement::Unknown,
        (one, other) if one != other => Agreement::Different,
        _ if a.extension == b.extension => Agreement::Same,
        _ => Agreement::Similar,
    }
}

/// Bits for two names of so much likeness, given that the two share a key: +5 for the same name, -7 for another.
fn judged(similarity: f32) -> f32 {
    const POINTS: [(f32, f32); 5] = [(0.0, -7.0), (0.25, -4.0), (0.5, 0.0), (0.7, 3.0), (1.0, 5.0)];
    for pair in POINTS.windows(2) {
        let ((from, low), (to, high)) = (pair[0], pair[1]);
        if similarity <= to {
            return low + (high - low) * (similarity - from) / (to - from);
        }
    }
    5.0
}

fn is_role_mailbox(address: &str) -> bool {
    const ROLES: [&str; 22] = [
        "accueil",
        "admin",
        "billing",
        "bonjour",
        "bureau",
        "commercial",
        "compta",
        "contact",
        "direction",
        "hello",
        "help",
        "info",
        "kontakt",
        "mail",
        "marketing",
        "office",
        "reception",
        "sales",
        "secretariat",
        "service",
        "support",
        "team",
    ];
    let local = address.split('@').next().unwrap_or_default();
    ROLES.binary_search(&local).is_ok()
}
