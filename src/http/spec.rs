//! What the reference says of a route, beside what the table of routes says: a sentence, what it takes, what it answers.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// A parameter of a query or a header.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `query` or `header`.
    pub place: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What it is for.
    pub about: &'static str,
    /// What it may be.
    pub schema: Value,
}

/// An answer that is no refusal.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What it means.
    pub about: &'static str,
    /// Media type and schema; none where there is no body.
    pub content: Option<(&'static str, Value)>,
    /// Headers of this answer, with what they mean.
    pub headers: Vec<(&'static str, &'static str)>,
}

/// One route of the reference.
pub struct Spec {
    /// What it does, in a sentence without its full stop.
    pub summary: &'static str,
    /// Parameters beside those in the path.
    pub parameters: Vec<Parameter>,
    /// Media type and schema of the body.
    pub body: Option<(&'static str, Value)>,
    /// What is answered.
    pub answers: Vec<Answer>,
    /// Statuses of refusals beside those that every route of its kind has.
    pub refusals: &'static [u16],
}

/// Media type of nearly everything.
pub const JSON: &str = "application/json";

/// The schema of what a type is written as.
pub fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    tidy(&mut schema);
    schema
}

/// Takes out what only schemars needs, and formats that no reader of JSON knows.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            // A name of the type; not a property that is called so.
            if keywords.get("title").is_some_and(Value::is_string) {
                keywords.remove("title");
            }
            keywords.retain(|keyword, value| {
                let number = |format: &str| format.starts_with("uint") || format.starts_with("int");
                keyword != "format" || !value.as_str().is_some_and(number)
            });
            if let Some(Value::String(text)) = keywords.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            keywords.values_mut().for_each(tidy);
        }
        Value::Array(several) => several.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// An object with these fields and no others; a name that ends with `!` is required.
pub fn object<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, shape) in fields {
        let bare = name.trim_end_matches('!');
        if bare.len() < name.len() {
            required.push(bare);
        }
        properties.insert(bare.to_owned(), shape);
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// The parameters in a path, with what they may be: ids, but for the names that the board gives to its secrets.
pub fn in_path(path: &str) -> impl Iterator<Item = (&str, Value)> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let schema = match name {
            "secretId" => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$" }),
            _ => crate::shapes::id(),
        };
        (name, schema)
    })
}

impl Spec {
    /// A route that does what the sentence says.
    pub fn new(summary: &'static str) -> Self {
        Self { summary, parameters: vec![], body: None, answers: vec![], refusals: &[] }
    }

    /// It takes a parameter in its query.
    pub fn query(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "query", required: false, about, schema });
        self
    }

    /// It has this in its path; for routes whose paths are not those of a company.
    pub fn path(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "path", required: true, about, schema });
        self
    }

    /// It takes a header.
    pub fn header(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "header", required: false, about, schema });
        self
    }

    /// It takes a header that must be there.
    pub fn required_header(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: "header", required: true, about, schema });
        self
    }

    /// It takes JSON.
    pub fn body(self, schema: Value) -> Self {
        Self { body: Some((JSON, schema)), ..self }
    }

    /// It takes a patch: at least one of these fields.
    pub fn patch<const N: usize>(self, fields: [(&'static str, Value); N]) -> Self {
        let mut schema = object(fields);
        schema["minProperties"] = 1.into();
        self.body(schema)
    }

    /// It takes a file of that media type.
    pub fn file(self, media_type: &'static str) -> Self {
        Self { body: Some((media_type, json!({ "type": "string" }))), ..self }
    }

    /// It answers with JSON of that schema.
    pub fn answers(self, status: u16, about: &'static str, schema: Value) -> Self {
        self.answers_with(status, about, JSON, schema)
    }

    /// It answers with something of that media type.
    pub fn answers_with(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
        schema: Value,
    ) -> Self {
        let content = Some((media_type, schema));
        self.answers.push(Answer { status, about, content, headers: vec![] });
        self
    }

    /// It answers with no body, or with one that nothing is said of.
    pub fn answers_plainly(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer { status, about, content: None, headers: vec![] });
        self
    }

    /// Its last answer has a header.
    pub fn with_header(mut self, name: &'static str, about: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((name, about));
        }
        self
    }

    /// It refuses with these statuses too.
    pub fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }

    /// A page of a list, newest or smallest first, with a link to the next one.
    pub fn page(self, row: Value, limit: i64, after: Value, after_is: &'static str) -> Self {
        self.query("limit", crate::shapes::integer(1, limit), "Rows of the page.")
            .query("after", after, after_is)
            .answers(200, "A page of the list", json!({ "type": "array", "items": row }))
            .with_header("Link", "The next page, with rel=\"next\"; absent on the last one.")
    }
}
