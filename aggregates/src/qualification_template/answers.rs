//! Answers to a whole form: whether they fit it, what is missing, and what they are worth.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::answer::{Answer, Misfit};
use super::event::{FormField, QualificationForm, ScoreTest};
use super::form::FormFault;
use super::pattern::{MatchRoom, Pattern};

/// Answers by the keys of their fields.
pub type Answers = BTreeMap<String, Answer>;

impl QualificationForm {
    /// `before` with what `given` says: a value replaces, null clears. Or everything that does not fit.
    pub fn answered(&self, before: &Answers, given: &Map<String, Value>) -> Result<Answers, Vec<FormFault>> {
        let mut answers = before.clone();
        let mut faults = Vec::new();
        // A pattern is compiled once, however many fields have it. A form whose pattern does not compile is not accepted, so
        // that one that does not now takes nothing.
        let mut patterns = HashMap::new();
        let mut room = MatchRoom::default();
        let mut matches = |pattern: &str, text: &str| {
            let known = patterns.entry(pattern.to_owned()).or_insert_with(|| Pattern::accepted(pattern));
            known.as_ref().map_or(Ok(false), |known| room.matches(known, text))
        };
        for (key, value) in given {
            let read = match (self.field(key), value) {
                (None, _) => {
                    let message = format!("this version of the form has no field {key}");
                    Err(Misfit { code: "UNKNOWN_FIELD", message })
                }
                (Some(_), Value::Null) => Ok(None),
                (Some(field), value) => Answer::read_with(field, value, &mut matches).map(Some),
            };
            match read {
                Ok(Some(answer)) => {
                    answers.insert(key.clone(), answer);
                }
                Ok(None) => {
                    answers.remove(key);
                }
                Err(Misfit { code, message }) => faults.push(FormFault { path: key.clone(), code, message }),
            }
        }
        if faults.is_empty() { Ok(answers) } else { Err(faults) }
    }

    /// Whether any of these answers must match a pattern, which may take long.
    pub fn holds_against_patterns(&self, given: &Map<String, Value>) -> bool {
        let told = |field: &FormField| field.pattern.is_some() && given.contains_key(&field.key);
        self.fields.iter().any(told)
    }

    /// The required fields that have no answer.
    pub fn missing(&self, answers: &Answers) -> Vec<String> {
        let open = self.fields.iter().filter(|field| field.required && !answers.contains_key(&field.key));
        open.map(|field| field.key.clone()).collect()
    }

    /// What the answers are worth; none where the form weighs nothing.
    pub fn score(&self, answers: &Answers) -> Option<i64> {
        let scoring = self.scoring.as_ref()?;
        let earned = scoring
            .rules
            .iter()
            .filter(|rule| answers.get(&rule.key).is_some_and(|answer| rule.test.holds(answer)));
        Some(earned.map(|rule| i64::from(rule.points)).sum())
    }

    /// Whether a score reaches the threshold; none where the form weighs nothing.
    pub fn reaches(&self, score: i64) -> Option<bool> {
        self.scoring.as_ref().map(|scoring| score >= i64::from(scoring.qualify_threshold))
    }
}

impl ScoreTest {
    fn holds(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Answered, _) => true,
            (Self::Equals(wanted), answer) => answer == wanted,
            (Self::NotEquals(other), answer) => answer != other,
            (Self::AtLeast(Answer::Number(least)), Answer::Number(number)) => number >= least,
            (Self::AtMost(Answer::Number(most)), Answer::Number(number)) => number <= most,
            // Days as `YYYY-MM-DD` compare as text.
            (Self::AtLeast(Answer::Date(first)), Answer::Date(day)) => day >= first,
            (Self::AtMost(Answer::Date(last)), Answer::Date(day)) => day <= last,
            (Self::Includes(option), Answer::Options(chosen)) => chosen.contains(option),
            (Self::AtLeast(_) | Self::AtMost(_) | Self::Includes(_), _) => false,
        }
    }
}
