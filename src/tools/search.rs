//! Which tools fit what somebody wants to do, in words, English or French.
//!
//! A tool is a document of six fields: its name, what users say when they mean it, the first sentence of its
//! description, the rest of it, the titles of its examples, and its parameters with their values. Documents are ranked by
//! BM25F: a word weighs by how few tools have it, counts for more in a name than in a parameter, and for less in a long field
//! than in a short one. A word of the query is found by its stem, or for less by a concept that it shares with another
//! word (see `words`). A word that is denied counts once more where it is denied too.

mod sayings;
mod words;

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use self::words::Word;

/// Fields of a document, what a word in each counts for, and how much its length takes away (b).
const FIELDS: [(f64, f64); 6] = [
    (4.0, 0.6),  // The name.
    (2.5, 0.5),  // Sayings.
    (1.5, 0.5),  // The first sentence of the description.
    (0.7, 0.5),  // The rest of the description.
    (0.6, 0.5),  // Examples.
    (0.4, 0.75), // Parameters.
];
/// How soon a word that is there again adds no more (k1): a little later than is usual, because a name says more than
/// that a word is there.
const SATURATION: f64 = 2.0;
/// What a concept counts for beside the word itself.
const CONCEPT: f64 = 0.9;

/// What a tool is searched by.
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it does.
    pub description: &'a str,
    /// The titles of its examples.
    pub examples: Vec<&'a str>,
    /// The schema of its input.
    pub schema: &'a Value,
}

/// Every tool, ready to be searched.
pub struct Index {
    documents: usize,
    /// Where a stem or a concept occurs: the document, and how often there, weighed by field and length.
    terms: HashMap<String, Vec<(usize, f64)>>,
}

impl Index {
    /// An index of the entries, which are known by their places from then on.
    pub fn new(entries: &[Entry<'_>]) -> Self {
        let documents: Vec<[Counts; 6]> = entries.iter().map(|entry| fields(entry).map(Counts::of)).collect();
        let mean = |field: usize| {
            let words: usize = documents.iter().map(|document| document[field].length).sum();
            precise(words) / precise(documents.len().max(1))
        };
        let means: Vec<f64> = (0..FIELDS.len()).map(mean).collect();
        let mut terms: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
        for (place, document) in documents.iter().enumerate() {
            let mut weights: HashMap<&str, f64> = HashMap::new();
            for ((counts, (boost, b)), mean) in document.iter().zip(FIELDS).zip(&means) {
                let length = if *mean > 0.0 { precise(counts.length) / mean } else { 1.0 };
                for (term, count) in &counts.terms {
                    *weights.entry(term).or_default() += boost * precise(*count) / (1.0 - b + b * length);
                }
            }
            for (term, weight) in weights {
                terms.entry(term.to_owned()).or_default().push((place, weight));
            }
        }
        Self { documents: documents.len(), terms }
    }

    /// The entries that fit, the best first; the order given decides between equals.
    pub fn ranked(&self, query: &str) -> Vec<usize> {
        let mut scores = vec![0.0; self.documents];
        let mut seen = BTreeSet::new();
        for word in words::of(query) {
            // A word that is said twice is not wanted twice.
            if !seen.insert(word.stems.clone()) {
                continue;
            }
            for terms in [Some(terms(&word)), word.denied.then(|| denied(&word))].into_iter().flatten() {
                let mut best = vec![0.0_f64; self.documents];
                for (term, counts_for) in terms {
                    for (place, score) in self.scored(&term) {
                        best[place] = best[place].max(counts_for * score);
                    }
                }
                scores.iter_mut().zip(best).for_each(|(score, best)| *score += best);
            }
        }
        let mut ranked: Vec<usize> = (0..self.documents).filter(|place| scores[*place] > 0.0).collect();
        ranked.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        ranked
    }

    /// What a term counts for in each document that has it.
    fn scored(&self, term: &str) -> impl Iterator<Item = (usize, f64)> {
        let found = self.terms.get(term).map_or(&[][..], Vec::as_slice);
        let (all, having) = (precise(self.documents), precise(found.len()));
        let rarity = (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
        found.iter().map(move |(place, weight)| (*place, rarity * weight / (SATURATION + weight)))
    }
}

/// The terms that a word is found by, and what each counts for. A concept is written as no stem is.
fn terms(word: &Word) -> Vec<(String, f64)> {
    let named = word.stems.iter().map(|stem| (stem.clone(), 1.0));
    let meant = word.concepts.iter().map(|concept| (format!("={concept}"), CONCEPT));
    named.chain(meant).collect()
}

/// The same of a word that is denied, beside its own: they occur where it is denied as well.
fn denied(word: &Word) -> Vec<(String, f64)> {
    terms(word).into_iter().map(|(term, counts_for)| (format!("!{term}"), counts_for)).collect()
}

/// How often what occurs in a field.
struct Counts {
    length: usize,
    terms: HashMap<String, usize>,
}

impl Counts {
    fn of(text: String) -> Self {
        let words = words::of(&text);
        let mut counted = HashMap::new();
        for word in &words {
            let denied = if word.denied { denied(word) } else { vec![] };
            for (term, _) in terms(word).into_iter().chain(denied) {
                *counted.entry(term).or_default() += 1;
            }
        }
        Self { length: words.len(), terms: counted }
    }
}

/// The texts of an entry, field by field as [`FIELDS`] has them.
fn fields(entry: &Entry<'_>) -> [String; 6] {
    let (summary, rest) = entry.description.split_once(". ").unwrap_or((entry.description, ""));
    let mut parameters = String::new();
    told(entry.schema, &mut parameters);
    [
        entry.name.to_owned(),
        sayings::of(entry.name).join(". "),
        summary.to_owned(),
        rest.to_owned(),
        entry.examples.join(". "),
        parameters,
    ]
}

/// The names of parameters, and the values that are listed, at every depth.
fn told(schema: &Value, texts: &mut String) {
    let mut say = |text: &str| {
        texts.push_str(text);
        texts.push(' ');
    };
    if let Some(properties) = schema["properties"].as_object() {
        properties.keys().for_each(|name| say(name));
    }
    schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).for_each(&mut say);
    let properties = schema["properties"].as_object();
    properties.into_iter().flatten().for_each(|(_, property)| told(property, texts));
    if schema["items"].is_object() {
        told(&schema["items"], texts);
    }
}

#[allow(clippy::cast_precision_loss, reason = "tools and their words are counted in hundreds")]
fn precise(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
