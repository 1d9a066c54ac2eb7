//! Whether a form is one: everything that is wrong with it at once, each with its path.

use std::collections::{HashMap, HashSet};

use super::answer::{Answer, FieldType, TEXT_MAX};
use super::event::{FormField, QualificationForm, ScoreRule, ScoreTest, Scoring};
use super::pattern::{MatchRoom, Pattern, PatternRoom};

/// Fields of a form, at most.
pub const FIELDS_MAX: usize = 100;
/// Options of a field, at most.
pub const OPTIONS_MAX: usize = 100;
/// Rules of a scoring, at most.
pub const RULES_MAX: usize = 200;
/// Characters of a name, label or option, at most.
pub const LABEL_MAX: usize = 200;
/// Characters of a description, at most.
pub const DESCRIPTION_MAX: usize = 2_000;
/// Characters of a pattern, at most.
pub const PATTERN_MAX: usize = 200;
/// Points of a rule, at most and, below zero, at least.
pub const POINTS_MAX: i32 = 1_000;
/// A threshold, at most and, below zero, at least: what all rules together can reach.
pub const THRESHOLD_MAX: i32 = 200_000;
/// Bytes of a whole form, at most.
pub const FORM_BYTES_MAX: usize = 256 << 10;

/// What is wrong with one place of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormFault {
    /// Where, as `fields[2].options[0]`.
    pub path: String,
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// A form that was found to be one. That may have taken long, and is not asked again where the form is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faultless(QualificationForm);

impl Faultless {
    /// The form.
    pub fn into_form(self) -> QualificationForm {
        self.0
    }
}

impl std::ops::Deref for Faultless {
    type Target = QualificationForm;

    fn deref(&self) -> &QualificationForm {
        &self.0
    }
}

/// Whether the text may name a field.
pub fn is_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= 64
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether the text may name a node of a call script.
fn is_node(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

struct Faults(Vec<FormFault>);

impl Faults {
    fn add(&mut self, path: String, code: &'static str, message: impl Into<String>) {
        self.0.push(FormFault { path, code, message: message.into() });
    }

    fn length(&mut self, path: String, text: &str, max: usize) {
        if text.is_empty() {
            self.add(path, "TOO_SHORT", "must not be empty");
        } else if text.chars().count() > max {
            self.add(path, "TOO_LONG", format!("must have at most {max} characters"));
        }
    }
}

impl QualificationForm {
    /// The field of that key.
    pub fn field(&self, key: &str) -> Option<&FormField> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// The form, if there is nothing wrong with it.
    pub fn faultless(self, room: &mut PatternRoom) -> Result<Faultless, Vec<FormFault>> {
        let faults = self.faults_within(room);
        if faults.is_empty() { Ok(Faultless(self)) } else { Err(faults) }
    }

    /// Everything that is wrong with the form; nothing if it is one.
    pub fn faults(&self) -> Vec<FormFault> {
        self.faults_within(&mut PatternRoom::default())
    }

    /// The same for one of several forms that come with one call: their patterns share the room.
    pub fn faults_within(&self, room: &mut PatternRoom) -> Vec<FormFault> {
        let mut faults = Faults(Vec::new());
        faults.length("name".into(), &self.name, LABEL_MAX);
        if let Some(description) = &self.description {
            faults.length("description".into(), description, DESCRIPTION_MAX);
        }
        if self.fields.is_empty() {
            faults.add("fields".into(), "TOO_FEW_ITEMS", "must have at least 1 item");
        }
        if self.fields.len() > FIELDS_MAX {
            faults.add("fields".into(), "TOO_MANY_ITEMS", format!("must have at most {FIELDS_MAX} items"));
        }
        let rules = self.scoring.iter().flat_map(|scoring| &scoring.rules);
        let weighed: HashSet<&str> = rules.map(|rule| rule.key.as_str()).collect();
        // A pattern is compiled once, however many rules hold their values against it.
        let mut patterns = HashMap::new();
        let mut keys = HashSet::new();
        for (index, field) in self.fields.iter().take(FIELDS_MAX).enumerate() {
            let path = format!("fields[{index}]");
            if !keys.insert(field.key.as_str()) {
                let message = format!("another field has the key {} too", field.key);
                faults.add(format!("{path}.key"), "DUPLICATE_KEY", message);
            }
            let pattern = field.judge(&path, room, &mut faults);
            if let Some(pattern) = pattern.filter(|_| weighed.contains(field.key.as_str())) {
                patterns.entry(field.key.as_str()).or_insert(pattern);
            }
        }
        if let Some(scoring) = &self.scoring {
            self.judge_scoring(scoring, &patterns, &mut room.matching, &mut faults);
        }
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len());
        if bytes > FORM_BYTES_MAX {
            let message = format!("must have at most {FORM_BYTES_MAX} bytes in all, and has {bytes}");
            faults.add(String::new(), "TOO_LARGE", message);
        }
        faults.0
    }

    /// Things that are allowed and probably not meant.
    pub fn doubts(&self) -> Vec<FormFault> {
        let mut doubts = Faults(Vec::new());
        if let Some(scoring) = &self.scoring {
            let best: i64 = scoring.rules.iter().map(|rule| i64::from(rule.points.max(0))).sum();
            if best < i64::from(scoring.qualify_threshold) {
                let message = format!("no answers reach the threshold: the rules give {best} points at most");
                doubts.add("scoring.qualifyThreshold".into(), "THRESHOLD_UNREACHABLE", message);
            }
        }
        doubts.0
    }

    fn judge_scoring(
        &self,
        scoring: &Scoring,
        patterns: &HashMap<&str, Pattern>,
        room: &mut MatchRoom,
        faults: &mut Faults,
    ) {
        let rules = scoring.rules.len();
        if rules == 0 {
            faults.add("scoring.rules".into(), "TOO_FEW_ITEMS", "must have at least 1 item");
        }
        if rules > RULES_MAX {
            let message = format!("must have at most {RULES_MAX} items");
            faults.add("scoring.rules".into(), "TOO_MANY_ITEMS", message);
        }
        if !(-THRESHOLD_MAX..=THRESHOLD_MAX).contains(&scoring.qualify_threshold) {
            let message = format!("must be from -{THRESHOLD_MAX} to {THRESHOLD_MAX}");
            faults.add("scoring.qualifyThreshold".into(), "OUT_OF_RANGE", message);
        }
        for (index, rule) in scoring.rules.iter().take(RULES_MAX).enumerate() {
            let path = format!("scoring.rules[{index}]");
            if !(-POINTS_MAX..=POINTS_MAX).contains(&rule.points) {
                let message = format!("must be from -{POINTS_MAX} to {POINTS_MAX}");
                faults.add(format!("{path}.points"), "OUT_OF_RANGE", message);
            }
            match self.field(&rule.key) {
                None => {
                    faults.add(
                        format!("{path}.key"),
                        "UNKNOWN_KEY",
                        format!("no field has the key {}", rule.key),
                    );
                }
                Some(field) => rule.judge(field, patterns.get(rule.key.as_str()), room, &path, faults),
            }
        }
    }
}

impl FormField {
    /// Notes what is wrong with the field, and answers its pattern.
    fn judge(&self, path: &str, room: &mut PatternRoom, faults: &mut Faults) -> Option<Pattern> {
        if !is_key(&self.key) {
            let message = "must be a small letter and up to 63 small letters, digits or underscores";
            faults.add(format!("{path}.key"), "WRONG_FORMAT", message);
        }
        faults.length(format!("{path}.label"), &self.label, LABEL_MAX);
        self.judge_options(path, faults);
        for (member, given, kind) in [
            ("min", self.min.is_some(), FieldType::Number),
            ("max", self.max.is_some(), FieldType::Number),
            ("maxLength", self.max_length.is_some(), FieldType::Text),
            ("pattern", self.pattern.is_some(), FieldType::Text),
        ] {
            if given && self.kind != kind {
                let message = format!("is for fields of type {} alone", kind.name());
                faults.add(format!("{path}.{member}"), "NOT_FOR_TYPE", message);
            }
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            faults.add(
                format!("{path}.max"),
                "MIN_OVER_MAX",
                format!("must not be less than min, which is {min}"),
            );
        }
        if self.max_length.is_some_and(|max| max == 0 || usize::from(max) > TEXT_MAX) {
            faults.add(format!("{path}.maxLength"), "OUT_OF_RANGE", format!("must be from 1 to {TEXT_MAX}"));
        }
        let mut compiled = None;
        if let Some(pattern) = &self.pattern {
            let path = format!("{path}.pattern");
            if pattern.is_empty() || pattern.chars().count() > PATTERN_MAX {
                faults.length(path, pattern, PATTERN_MAX);
            } else {
                match room.compiled(pattern) {
                    Ok(pattern) => compiled = Some(pattern),
                    Err(error) => faults.add(path, error.code(), error.to_string()),
                }
            }
        }
        if self.maps_from_script_node_id.as_deref().is_some_and(|node| !is_node(node)) {
            let message = "must be 1 to 64 small letters, digits, - or _";
            faults.add(format!("{path}.mapsFromScriptNodeId"), "WRONG_FORMAT", message);
        }
        compiled
    }

    fn judge_options(&self, path: &str, faults: &mut Faults) {
        let path = format!("{path}.options");
        match (self.kind.chooses(), self.options.len()) {
            (true, 0) => {
                let message = format!("a field of type {} needs options", self.kind.name());
                faults.add(path, "OPTIONS_REQUIRED", message);
                return;
            }
            (false, 1..) => {
                faults.add(path, "NOT_FOR_TYPE", "is for fields of type select or multiselect alone");
                return;
            }
            (_, count) if count > OPTIONS_MAX => {
                faults.add(path, "TOO_MANY_ITEMS", format!("must have at most {OPTIONS_MAX} items"));
                return;
            }
            _ => (),
        }
        let mut seen = HashSet::new();
        for (index, option) in self.options.iter().enumerate() {
            faults.length(format!("{path}[{index}]"), option, LABEL_MAX);
            if !seen.insert(option) {
                faults.add(format!("{path}[{index}]"), "DUPLICATE_OPTION", "is there twice");
            }
        }
    }
}

impl ScoreRule {
    fn judge(
        &self,
        field: &FormField,
        pattern: Option<&Pattern>,
        room: &mut MatchRoom,
        path: &str,
        faults: &mut Faults,
    ) {
        let wrong = |faults: &mut Faults| {
            let message = format!("cannot be asked of a field of type {}", field.kind.name());
            faults.add(format!("{path}.operator"), "NOT_FOR_TYPE", message);
        };
        match (&self.test, field.kind) {
            (ScoreTest::Answered, _) => (),
            (ScoreTest::Equals(_) | ScoreTest::NotEquals(_), FieldType::Multiselect) => wrong(faults),
            (ScoreTest::AtLeast(value) | ScoreTest::AtMost(value), FieldType::Number | FieldType::Date)
            | (ScoreTest::Equals(value) | ScoreTest::NotEquals(value), _) => {
                // A pattern that is none is told at its field.
                let mut matches =
                    |_: &str, text: &str| pattern.map_or(Ok(true), |pattern| room.matches(pattern, text));
                if let Err(misfit) = Answer::read_with(field, &value.to_json(), &mut matches) {
                    faults.add(format!("{path}.value"), misfit.code, misfit.message);
                }
            }
            (ScoreTest::AtLeast(_) | ScoreTest::AtMost(_), _) => wrong(faults),
            (ScoreTest::Includes(option), FieldType::Multiselect) => {
                if !field.options.contains(option) {
                    let message = format!("must be one of {}", field.options.join(", "));
                    faults.add(format!("{path}.value"), "NOT_ONE_OF", message);
                }
            }
            (ScoreTest::Includes(_), _) => wrong(faults),
        }
    }
}
