//! A form as agents write and read it, and as files carry it from one organization to another.

use docket_aggregates::decimal::Decimal;
use docket_aggregates::qualification_template::{
    Answer, Faultless, FieldType, FormFault, FormField, PatternRoom, QualificationForm, ScoreRule, ScoreTest,
    Scoring,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::tools::FieldError;
use crate::tools::input::{Listed, Name};

impl Listed for FieldType {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

/// A form without its place in an organization.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct FormDocument {
    /// What the template is called.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000), extend("x-lines" = true))]
    pub description: Option<String>,
    /// What is asked, in that order.
    #[schemars(length(min = 1, max = 100))]
    pub fields: Vec<FieldDocument>,
    /// How answers are weighed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<ScoringDocument>,
}

/// One field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldDocument {
    /// Names the answer; once per template, and best kept for ever.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,63}$"))]
    pub key: String,
    /// What is asked.
    #[schemars(length(min = 1, max = 200))]
    pub label: String,
    /// What kind of answer it takes.
    #[serde(rename = "type")]
    pub kind: Name<FieldType>,
    /// Whether a contact cannot be qualified without an answer; false if not said.
    #[serde(default)]
    pub required: bool,
    /// What can be chosen; of select and multiselect alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200)))]
    pub options: Vec<String>,
    /// The least number; of number alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// The greatest number; of number alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// Characters at most; of text alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4000))]
    pub max_length: Option<u16>,
    /// What the text must match somewhere, in RE2 syntax; of text alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub pattern: Option<String>,
    /// The script node whose answer belongs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,64}$"))]
    pub maps_from_script_node_id: Option<String>,
}

/// How answers are weighed: the points of every rule that holds are added up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScoringDocument {
    /// The rules.
    #[schemars(length(min = 1, max = 200))]
    pub rules: Vec<RuleDocument>,
    /// The sum from which a contact counts as qualified.
    #[schemars(range(min = -200_000, max = 200_000))]
    pub qualify_threshold: i32,
}

/// Points for one kind of answer; a field without an answer earns none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct RuleDocument {
    /// The field.
    pub key: String,
    /// What must hold of its answer.
    pub operator: Operator,
    /// With what it is compared; answered needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "plain_value")]
    pub value: Option<Value>,
    /// What it is worth.
    #[schemars(range(min = -1000, max = 1000))]
    pub points: i32,
}

fn plain_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operator {
    /// There is an answer.
    Answered,
    /// It is this one.
    Equals,
    /// It is another one.
    NotEquals,
    /// A number or date of at least this.
    AtLeast,
    /// A number or date of at most this.
    AtMost,
    /// This option of a multiselect was chosen.
    Includes,
}

fn fault(path: String, code: &'static str, message: &str) -> FormFault {
    FormFault { path, code, message: message.to_owned() }
}

/// Faults as the call tells them, below `path`.
pub(super) fn told(faults: &[FormFault], path: &str) -> Vec<FieldError> {
    let at = |inner: &str| match (path, inner) {
        (path, "") => path.to_owned(),
        ("", inner) => inner.to_owned(),
        (path, inner) => format!("{path}.{inner}"),
    };
    faults.iter().map(|fault| FieldError::new(&at(&fault.path), fault.code, &*fault.message)).collect()
}

impl FormDocument {
    /// The document of a form.
    pub fn of(form: &QualificationForm) -> Self {
        Self {
            name: form.name.clone(),
            description: form.description.clone(),
            fields: form.fields.iter().map(FieldDocument::of).collect(),
            scoring: form.scoring.as_ref().map(ScoringDocument::of),
        }
    }

    /// The form, or everything that is wrong with it.
    pub fn form(self) -> Result<Faultless, Vec<FormFault>> {
        self.form_within(&mut PatternRoom::default())
    }

    /// The same for one of several documents of one call.
    pub fn form_within(self, room: &mut PatternRoom) -> Result<Faultless, Vec<FormFault>> {
        let mut faults = Vec::new();
        let fields = fields(self.fields, &mut faults);
        let scoring = self.scoring.map(|scoring| scoring.scoring(&fields, &mut faults));
        let description = self.description.filter(|description| !description.is_empty());
        let form = QualificationForm { name: self.name, description, fields, scoring };
        match form.faultless(room) {
            Ok(form) if faults.is_empty() => Ok(form),
            Ok(_) => Err(faults),
            Err(others) => Err(faults.into_iter().chain(others).collect()),
        }
    }
}

/// Fields as the aggregates take them; numbers that are none are noted.
pub(super) fn fields(documents: Vec<FieldDocument>, faults: &mut Vec<FormFault>) -> Vec<FormField> {
    let mut fields = Vec::with_capacity(documents.len());
    for (index, document) in documents.into_iter().enumerate() {
        let mut bound = |member: &str, number: Option<Number>| {
            let decimal = number.as_ref().map(Decimal::try_from).transpose();
            decimal.unwrap_or_else(|_| {
                let path = format!("fields[{index}].{member}");
                faults.push(fault(path, "OUT_OF_RANGE", "must be a number of at most 15 digits"));
                None
            })
        };
        fields.push(FormField {
            min: bound("min", document.min),
            max: bound("max", document.max),
            key: document.key,
            label: document.label,
            kind: document.kind.0,
            required: document.required,
            options: document.options,
            max_length: document.max_length,
            pattern: document.pattern,
            maps_from_script_node_id: document.maps_from_script_node_id,
        });
    }
    fields
}

impl FieldDocument {
    fn of(field: &FormField) -> Self {
        Self {
            key: field.key.clone(),
            label: field.label.clone(),
            kind: Name(field.kind),
            required: field.required,
            options: field.options.clone(),
            min: field.min.map(Number::from),
            max: field.max.map(Number::from),
            max_length: field.max_length,
            pattern: field.pattern.clone(),
            maps_from_script_node_id: field.maps_from_script_node_id.clone(),
        }
    }
}

impl ScoringDocument {
    fn of(scoring: &Scoring) -> Self {
        Self {
            rules: scoring.rules.iter().map(RuleDocument::of).collect(),
            qualify_threshold: scoring.qualify_threshold,
        }
    }

    /// The scoring as the aggregates take it; rules whose value is missing or none are noted.
    pub fn scoring(self, fields: &[FormField], faults: &mut Vec<FormFault>) -> Scoring {
        let rules = self.rules.into_iter().enumerate().map(|(index, rule)| {
            let path = format!("scoring.rules[{index}].value");
            let field = fields.iter().find(|field| field.key == rule.key);
            let test = rule.test(field).unwrap_or_else(|(code, message)| {
                faults.push(fault(path, code, message));
                ScoreTest::Answered
            });
            ScoreRule { key: rule.key, test, points: rule.points }
        });
        Scoring { rules: rules.collect(), qualify_threshold: self.qualify_threshold }
    }
}

impl RuleDocument {
    fn of(rule: &ScoreRule) -> Self {
        let (operator, value) = match &rule.test {
            ScoreTest::Answered => (Operator::Answered, None),
            ScoreTest::Equals(answer) => (Operator::Equals, Some(answer.to_json())),
            ScoreTest::NotEquals(answer) => (Operator::NotEquals, Some(answer.to_json())),
            ScoreTest::AtLeast(answer) => (Operator::AtLeast, Some(answer.to_json())),
            ScoreTest::AtMost(answer) => (Operator::AtMost, Some(answer.to_json())),
            ScoreTest::Includes(option) => (Operator::Includes, Some(option.as_str().into())),
        };
        Self { key: rule.key.clone(), operator, value, points: rule.points }
    }

    fn test(&self, field: Option<&FormField>) -> Result<ScoreTest, (&'static str, &'static str)> {
        let value = match (self.operator, &self.value) {
            (Operator::Answered, None) => return Ok(ScoreTest::Answered),
            (Operator::Answered, Some(_)) => return Err(("NOT_FOR_OPERATOR", "answered takes no value")),
            (_, None) => return Err(("REQUIRED", "is required")),
            (_, Some(value)) => value,
        };
        if self.operator == Operator::Includes {
            let option = value.as_str().ok_or(("WRONG_TYPE", "must be one of the options"))?;
            return Ok(ScoreTest::Includes(option.to_owned()));
        }
        // Where the field does not take it, it is kept as it is and judged with the whole form. So is a text, which is
        // the same in any case.
        let fitting = field
            .filter(|field| field.kind != FieldType::Text)
            .and_then(|field| Answer::read(field, value).ok());
        let answer = match fitting {
            Some(answer) => answer,
            None => plain(value).ok_or(("OUT_OF_RANGE", "must be a number of at most 15 digits"))?,
        };
        Ok(match self.operator {
            Operator::Equals => ScoreTest::Equals(answer),
            Operator::NotEquals => ScoreTest::NotEquals(answer),
            Operator::AtLeast => ScoreTest::AtLeast(answer),
            Operator::Answered | Operator::AtMost | Operator::Includes => ScoreTest::AtMost(answer),
        })
    }
}

fn plain(value: &Value) -> Option<Answer> {
    match value {
        Value::String(text) => Some(Answer::Text(text.clone())),
        Value::Bool(yes) => Some(Answer::Boolean(*yes)),
        Value::Number(number) => Decimal::try_from(number).ok().map(Answer::Number),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<QualificationForm, Vec<FormFault>> {
        serde_json::from_value::<FormDocument>(value).unwrap().form().map(Faultless::into_form)
    }

    fn sample() -> Value {
        json!({
            "name": "Heating",
            "fields": [
                { "key": "fuel", "label": "Fuel", "type": "select", "required": true, "options": ["gas", "oil"] },
                { "key": "area", "label": "Area", "type": "number", "required": false, "min": 0.5, "max": 900 },
                { "key": "built", "label": "Built", "type": "date", "required": false },
            ],
            "scoring": {
                "rules": [
                    { "key": "fuel", "operator": "equals", "value": "oil", "points": 10 },
                    { "key": "area", "operator": "at_least", "value": 99.5, "points": 5 },
                    { "key": "built", "operator": "at_most", "value": "1990-12-31", "points": 5 },
                    { "key": "built", "operator": "answered", "points": 1 },
                ],
                "qualifyThreshold": 15,
            },
        })
    }

    #[test]
    fn a_form_survives_its_document() {
        let form = read(sample()).unwrap();
        assert_eq!(serde_json::to_value(FormDocument::of(&form)).unwrap(), sample());
    }

    #[test]
    fn a_rule_without_its_value_is_told_with_its_path() {
        for (rule, code) in [
            (json!({ "key": "fuel", "operator": "equals", "points": 1 }), "REQUIRED"),
            (
                json!({ "key": "fuel", "operator": "answered", "value": "gas", "points": 1 }),
                "NOT_FOR_OPERATOR",
            ),
            (json!({ "key": "fuel", "operator": "equals", "value": "coal", "points": 1 }), "NOT_ONE_OF"),
            (json!({ "key": "fuel", "operator": "equals", "value": true, "points": 1 }), "WRONG_TYPE"),
            (json!({ "key": "area", "operator": "equals", "value": 1e300, "points": 1 }), "OUT_OF_RANGE"),
            (json!({ "key": "fuel", "operator": "includes", "value": 3, "points": 1 }), "WRONG_TYPE"),
        ] {
            let mut document = sample();
            document["scoring"]["rules"] = json!([rule]);
            let faults = read(document).unwrap_err();
            let found = (faults[0].path.as_str(), faults[0].code);
            assert_eq!(found, ("scoring.rules[0].value", code), "{rule}");
        }
    }
}
