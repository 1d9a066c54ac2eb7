//! A form as JSON Schema: what answers to it look like, for agents and for models.
//!
//! The schema compiles in every language. A pattern that engines read differently is therefore not in it as `pattern`:
//! the description says it instead, and an answer is held to it when it is recorded.

use docket_aggregates::qualification_template::{FieldType, FormField, QualificationForm, TEXT_MAX};
use serde_json::{Map, Value, json};

use super::portable::portable;

/// The schema of a form's answers (draft 2020-12). What is required is required of a contact that is qualified; a
/// draft may leave it out.
pub fn of(form: &QualificationForm) -> Value {
    let properties: Map<String, Value> =
        form.fields.iter().map(|field| (field.key.clone(), of_field(field))).collect();
    let required: Vec<&str> =
        form.fields.iter().filter(|field| field.required).map(|field| field.key.as_str()).collect();
    let mut schema = json!({
        "type": "object",
        "title": form.name,
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some(description) = &form.description {
        schema["description"] = description.as_str().into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// The kinds of answers alone, for a model that must name every field: what it does not know is null.
pub fn of_kinds(form: &QualificationForm) -> Value {
    let properties: Map<String, Value> = form
        .fields
        .iter()
        .map(|field| {
            let schema = json!({ "anyOf": [of_kind(field), { "type": "null" }], "description": field.label });
            (field.key.clone(), schema)
        })
        .collect();
    let keys: Vec<&str> = form.fields.iter().map(|field| field.key.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": keys, "additionalProperties": false })
}

fn of_kind(field: &FormField) -> Value {
    match field.kind {
        FieldType::Text | FieldType::Email | FieldType::Phone => json!({ "type": "string" }),
        FieldType::Number => json!({ "type": "number" }),
        FieldType::Boolean => json!({ "type": "boolean" }),
        FieldType::Date => json!({ "type": "string", "description": "YYYY-MM-DD" }),
        FieldType::Select => json!({ "type": "string", "enum": field.options }),
        FieldType::Multiselect => {
            json!({ "type": "array", "items": { "type": "string", "enum": field.options } })
        }
    }
}

fn of_field(field: &FormField) -> Value {
    let mut schema = match field.kind {
        FieldType::Text => {
            json!({ "type": "string", "minLength": 1, "maxLength": field.max_length.map_or(TEXT_MAX, usize::from) })
        }
        FieldType::Number => json!({ "type": "number" }),
        FieldType::Boolean => json!({ "type": "boolean" }),
        FieldType::Date => json!({ "type": "string", "format": "date" }),
        FieldType::Select => json!({ "type": "string", "enum": field.options }),
        FieldType::Multiselect => json!({
            "type": "array",
            "items": { "type": "string", "enum": field.options },
            "minItems": 1,
            "uniqueItems": true,
        }),
        FieldType::Email => json!({ "type": "string", "format": "email" }),
        FieldType::Phone => json!({ "type": "string", "pattern": r"^\+?[0-9 ().\-/]{4,40}$" }),
    };
    if let Some(min) = field.min {
        schema["minimum"] = Value::Number(min.into());
    }
    if let Some(max) = field.max {
        schema["maximum"] = Value::Number(max.into());
    }
    schema["description"] = match &field.pattern {
        Some(pattern) if portable(pattern) => {
            schema["pattern"] = pattern.as_str().into();
            field.label.clone()
        }
        Some(pattern) => format!("{} Must match {pattern} (RE2 syntax).", field.label),
        None => field.label.clone(),
    }
    .into();
    schema
}

#[cfg(test)]
mod tests {
    use docket_aggregates::qualification_template::Answers;

    use super::*;

    fn field(key: &str, kind: FieldType) -> FormField {
        FormField {
            key: key.into(),
            label: format!("What is the {key}?"),
            kind,
            required: false,
            options: if kind.chooses() { vec!["gas".into(), "oil".into()] } else { vec![] },
            min: None,
            max: None,
            max_length: None,
            pattern: None,
            maps_from_script_node_id: None,
        }
    }

    fn form() -> QualificationForm {
        let mut fields: Vec<FormField> = FieldType::ALL.map(|kind| field(kind.name(), kind)).into();
        fields[0].max_length = Some(5);
        fields[0].pattern = Some("^[a-z]+$".into());
        (fields[1].min, fields[1].max) = ("0.5".parse().ok(), "10".parse().ok());
        fields[1].required = true;
        QualificationForm { name: "Heating".into(), description: None, fields, scoring: None }
    }

    #[test]
    fn the_schema_and_the_form_agree() {
        let form = form();
        let validator = jsonschema::options().should_validate_formats(true).build(&of(&form)).unwrap();
        for (key, value) in [
            ("text", json!("abc")),
            ("text", json!("")),
            ("text", json!("abcdef")),
            ("text", json!("ABC")),
            ("number", json!(0.5)),
            ("number", json!(0.4)),
            ("number", json!(10.5)),
            ("number", json!("5")),
            ("boolean", json!(true)),
            ("boolean", json!("true")),
            ("date", json!("2028-02-29")),
            ("date", json!("2026-02-30")),
            ("select", json!("gas")),
            ("select", json!("coal")),
            ("multiselect", json!(["oil", "gas"])),
            ("multiselect", json!(["gas", "gas"])),
            ("multiselect", json!([])),
            ("email", json!("ada@example.com")),
            ("email", json!("ada")),
            ("phone", json!("+33 6 12 34 56 78")),
            ("phone", json!("call me")),
            ("colour", json!("red")),
        ] {
            let mut answers = json!({ "number": 5 });
            answers[key] = value.clone();
            let given = answers.as_object().unwrap();
            let fits = form.answered(&Answers::new(), given).is_ok();
            assert_eq!(validator.is_valid(&answers), fits, "{key}: {value}");
        }
        assert!(!validator.is_valid(&json!({})), "what is required is required");
    }

    #[test]
    fn a_pattern_that_other_engines_read_differently_is_said_and_not_in_the_schema() {
        let mut form = form();
        let told = |form: &QualificationForm| of(form)["properties"]["text"].clone();
        assert_eq!(told(&form)["pattern"], "^[a-z]+$");
        assert_eq!(told(&form)["description"], "What is the text?");
        form.fields[0].pattern = Some(r"(?i)^a\p{L}*$".into());
        assert!(told(&form)["pattern"].is_null());
        assert_eq!(told(&form)["description"], r"What is the text? Must match (?i)^a\p{L}*$ (RE2 syntax).");
        let given = json!({ "number": 5, "text": "b" });
        assert!(form.answered(&Answers::new(), given.as_object().unwrap()).is_err(), "and it still holds");
    }

    #[test]
    fn a_model_names_every_field_and_says_null_where_it_does_not_know() {
        let form = form();
        let kinds = of_kinds(&form);
        let validator = jsonschema::validator_for(&kinds).unwrap();
        let unknown: Map<String, Value> =
            form.fields.iter().map(|field| (field.key.clone(), Value::Null)).collect();
        assert!(validator.is_valid(&Value::Object(unknown)));
        assert!(!validator.is_valid(&json!({})));
        assert_eq!(kinds["required"].as_array().map(Vec::len), Some(8));
    }
}
