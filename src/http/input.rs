//! Reading what a client sent: every field is named, every problem is told at once, nothing unknown is ignored.

use std::fmt::Display;

use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use docket_aggregates::Timestamp;
use serde_json::{Map, Value, json};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::body::{self, Broken};
use super::error::{ApiError, FieldProblem};
use crate::spelling::shortened;
use crate::tools::refusal::NAME_SHOWN;

/// What is wrong with a value, without the field's name.
pub type Problem = (&'static str, String);

/// A body of JSON.
pub struct Body(pub Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        parse(&json_bytes(request).await?).map(Self)
    }
}

/// The whole body of a request that says that it is JSON.
async fn json_bytes(request: Request) -> Result<Bytes, ApiError> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(is_json) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "NOT_JSON",
            "the body must be JSON, with the header content-type: application/json",
        ));
    }
    received(request).await
}

/// A body of JSON whose texts are as they were written: accepted by the same rules as [`Body`], and not normalised.
pub struct Verbatim(pub Value);

impl<S: Send + Sync> FromRequest<S> for Verbatim {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = json_bytes(request).await?;
        let normalised = parse(&bytes)?;
        // What the strict reader accepts, every other one reads alike.
        Ok(Self(serde_json::from_slice(&bytes).unwrap_or(normalised)))
    }
}

/// The whole body, whatever it is.
pub async fn received(request: Request) -> Result<Bytes, ApiError> {
    body::receive(request.into_body()).await.map_err(|broken| {
        let (status, code) = match broken {
            Broken::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"),
            Broken::Stalled => (StatusCode::REQUEST_TIMEOUT, "BODY_STALLED"),
            Broken::Interrupted => (StatusCode::BAD_REQUEST, "BODY_INTERRUPTED"),
        };
        ApiError::new(status, code, broken.to_string())
    })
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    crate::json::read(bytes).map_err(|fault| {
        let error = ApiError::new(StatusCode::BAD_REQUEST, fault.code(), fault.to_string());
        match fault.path() {
            "" => error,
            path => error.with(json!([FieldProblem::new(path, fault.code(), fault.to_string())])),
        }
    })
}

/// The fields of a body or query. A refused field gives a placeholder, and [`Fields::finish`] then refuses the
/// whole, so that every problem is told at once and no placeholder is ever used.
pub struct Fields {
    fields: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// The fields of a body, which must be an object.
    pub fn of_body(body: Value) -> Result<Self, ApiError> {
        match body {
            Value::Object(fields) => Ok(Self { fields, problems: vec![] }),
            _ => {
                Err(ApiError::new(StatusCode::BAD_REQUEST, "NOT_AN_OBJECT", "the body must be a JSON object"))
            }
        }
    }

    /// The parameters of a query; those named in `repeatable` become arrays of strings, all others are given
    /// once at most.
    pub fn of_query(uri: &Uri, repeatable: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| {
            ApiError::new(StatusCode::BAD_REQUEST, "MALFORMED_QUERY", "the query cannot be decoded")
        })?;
        let mut fields = Map::new();
        let mut problems = vec![];
        for (name, value) in pairs {
            if repeatable.contains(&name.as_str()) {
                if let Value::Array(values) = fields.entry(name).or_insert_with(|| Value::Array(vec![])) {
                    values.push(Value::String(value));
                }
            } else if fields.insert(name.clone(), Value::String(value)).is_some() {
                let name = shortened(&name, NAME_SHOWN);
                problems.push(FieldProblem::new(name, "REPEATED", "is given more than once"));
            }
        }
        Ok(Self { fields, problems })
    }

    /// A field that must be there.
    pub fn required<T: Default>(&mut self, name: &str, rule: impl FnOnce(Value) -> Result<T, Problem>) -> T {
        match self.fields.remove(name) {
            None | Some(Value::Null) => {
                self.problems.push(FieldProblem::new(name, "REQUIRED", "is required"));
                T::default()
            }
            Some(value) => self.judged(name, rule(value)).unwrap_or_default(),
        }
    }

    /// A field that may be missing; null is missing.
    pub fn optional<T>(&mut self, name: &str, rule: impl FnOnce(Value) -> Result<T, Problem>) -> Option<T> {
        match self.fields.remove(name)? {
            Value::Null => None,
            value => self.judged(name, rule(value)),
        }
    }

    /// A field of a patch that cannot be cleared: absent keeps, null is refused.
    pub fn patched<T>(&mut self, name: &str, rule: impl FnOnce(Value) -> Result<T, Problem>) -> Option<T> {
        match self.fields.remove(name)? {
            Value::Null => {
                self.problem(name, "NOT_NULLABLE", "cannot be cleared");
                None
            }
            value => self.judged(name, rule(value)),
        }
    }

    /// A field of a patch that can be cleared: absent keeps, null clears.
    pub fn clearable<T>(
        &mut self,
        name: &str,
        rule: impl FnOnce(Value) -> Result<T, Problem>,
    ) -> Option<Option<T>> {
        match self.fields.remove(name)? {
            Value::Null => Some(None),
            value => self.judged(name, rule(value)).map(Some),
        }
    }

    /// A field that is an object with fields of its own; absent and null are none. Its problems are told with those of
    /// the whole, under `name.field`.
    pub fn nested<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let fields = match self.fields.remove(name)? {
            Value::Null => return None,
            Value::Object(fields) => fields,
            _ => {
                self.problem(name, "WRONG_TYPE", "must be an object");
                return None;
            }
        };
        let mut inner = Self { fields, problems: vec![] };
        let value = read(&mut inner);
        let Err(refused) = inner.finish_problems() else { return Some(value) };
        for problem in refused {
            self.problems.push(FieldProblem { path: format!("{name}.{}", problem.path), ..problem });
        }
        None
    }

    /// The same of an object that must be there.
    pub fn required_nested<T: Default>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        if self.fields.get(name).is_none_or(Value::is_null) {
            self.fields.remove(name);
            self.problem(name, "REQUIRED", "is required");
        }
        self.nested(name, read).unwrap_or_default()
    }

    /// The same of a patch: absent keeps, null is refused.
    pub fn patched_nested<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.fields.remove(name);
            self.problem(name, "NOT_NULLABLE", "cannot be cleared");
        }
        self.nested(name, read)
    }

    /// A field that is a list of objects with fields of their own, `max` at most; absent is none. The problems of each are
    /// told under `name.index.field`.
    pub fn nested_list<T>(
        &mut self,
        name: &str,
        max: usize,
        read: impl Fn(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let items = match self.fields.remove(name)? {
            Value::Array(items) if items.len() <= max => items,
            Value::Array(_) => {
                self.problem(name, "TOO_MANY", format!("must have at most {max} items"));
                return None;
            }
            _ => {
                self.problem(name, "WRONG_TYPE", "must be a list");
                return None;
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{name}.{index}");
            let Value::Object(fields) = item else {
                self.problem(&path, "WRONG_TYPE", "must be an object");
                continue;
            };
            let mut inner = Self { fields, problems: vec![] };
            list.push(read(&mut inner));
            for problem in inner.finish_problems().err().into_iter().flatten() {
                self.problems.push(FieldProblem { path: format!("{path}.{}", problem.path), ..problem });
            }
        }
        Some(list)
    }

    /// Refuses a patch that changes nothing.
    pub fn not_empty(&mut self) {
        if self.fields.is_empty() {
            self.problem("body", "EMPTY_PATCH", "must name at least one field");
        }
    }

    /// Notes a problem that more than one field has a part in. What was found wrong with the field before is why: it is
    /// told once.
    pub fn problem(&mut self, name: &str, code: &'static str, message: impl Display) {
        if !self.problems.iter().any(|known| known.path == name) {
            self.problems.push(FieldProblem::new(name, code, message.to_string()));
        }
    }

    /// Whether something was found wrong with one of these fields.
    pub fn refused(&self, names: &[&str]) -> bool {
        self.problems.iter().any(|problem| names.contains(&problem.path.as_str()))
    }

    /// Refuses everything that was found wrong, and every field that nobody asked for.
    pub fn finish(self) -> Result<(), ApiError> {
        self.finish_problems().map_err(ApiError::fields)
    }

    fn finish_problems(mut self) -> Result<(), Vec<FieldProblem>> {
        for name in self.fields.keys() {
            // The name itself comes from the client: it is told back, but not without a bound.
            let name = shortened(name, NAME_SHOWN);
            self.problems.push(FieldProblem::new(name, "UNKNOWN_FIELD", "is not known here"));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }

    fn judged<T>(&mut self, name: &str, judged: Result<T, Problem>) -> Option<T> {
        match judged {
            Ok(value) => Some(value),
            Err((code, message)) => {
                self.problem(name, code, message);
                None
            }
        }
    }
}

fn string(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(("WRONG_TYPE", "must be a string".into())),
    }
}

/// A text of one line: trimmed, in NFC, without control characters, 1 to `max` characters.
pub fn line(max: usize) -> impl Fn(Value) -> Result<String, Problem> {
    move |value| text(value, max, |c| c.is_control())
}

/// A text of any number of lines: line ends and tabs are its own.
pub fn lines(max: usize) -> impl Fn(Value) -> Result<String, Problem> {
    move |value| text(value, max, |c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// The same, kept letter by letter: spaces at its ends and their number are its own too.
pub fn as_given(max: usize) -> impl Fn(Value) -> Result<String, Problem> {
    move |value| {
        let given = string(value.clone())?.to_owned();
        lines(max)(value).map(|_| given)
    }
}

fn text(value: Value, max: usize, refused: impl Fn(char) -> bool) -> Result<String, Problem> {
    let text: String = string(value)?.nfc().collect();
    let text = text.trim();
    if text.is_empty() {
        return Err(("EMPTY", "must not be empty".into()));
    }
    if crate::json::is_blank(text) {
        return Err(("BLANK", "must hold something that can be seen".into()));
    }
    if text.chars().any(refused) {
        return Err(("CONTROL_CHARACTER", "must not hold control characters".into()));
    }
    if text.chars().nth(max).is_some() {
        return Err(("TOO_LONG", format!("must have at most {max} characters")));
    }
    Ok(text.to_owned())
}

/// A text as `rule` takes it, of at most `max` bytes in UTF-8.
pub fn in_bytes(
    max: usize,
    rule: impl Fn(Value) -> Result<String, Problem>,
) -> impl Fn(Value) -> Result<String, Problem> {
    move |value| match rule(value)? {
        text if text.len() > max => Err(("TOO_LONG", format!("must have at most {max} bytes in UTF-8"))),
        text => Ok(text),
    }
}

/// An e-mail address that can be written to.
pub fn email(value: Value) -> Result<String, Problem> {
    let text = line(320)(value)?;
    let email = crate::normalise::normalise_email(&text, false)
        .map_err(|error| ("INVALID_EMAIL", error.to_string()))?;
    Ok(email.address().to_owned())
}

/// A UUID in its usual form: 32 hexadecimal digits in five groups.
pub fn uuid(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// An id of any kind.
pub fn id<T: From<Uuid>>(value: Value) -> Result<T, Problem> {
    uuid(&string(value)?).map(T::from).ok_or(("MALFORMED_ID", "must be a UUID".into()))
}

/// An id in the path: malformed is 400, unknown is for the caller to find out.
pub fn path_id<T: From<Uuid>>(name: &str, text: &str) -> Result<T, ApiError> {
    uuid(text).map(T::from).ok_or_else(|| ApiError::field(name, "MALFORMED_ID", "must be a UUID"))
}

/// An RFC 3339 instant.
pub fn instant(value: Value) -> Result<Timestamp, Problem> {
    string(value)?
        .parse()
        .map_err(|error: docket_aggregates::time::NotAnInstant| ("INVALID_INSTANT", error.to_string()))
}

/// The first instant that anything of ours can have happened at, or be planned for: 2000-01-01. What is earlier is a slip of the
/// pen or a clock that was never set.
const EARLIEST_MILLIS: i64 = 946_684_800_000;

/// An RFC 3339 instant of this century.
pub fn recent(value: Value) -> Result<Timestamp, Problem> {
    let at = instant(value)?;
    if at < Timestamp::from_millis(EARLIEST_MILLIS) {
        return Err(("TOO_EARLY", "must not be before the year 2000".into()));
    }
    Ok(at)
}

/// True or false.
pub fn boolean(value: Value) -> Result<bool, Problem> {
    value.as_bool().ok_or(("WRONG_TYPE", "must be true or false".into()))
}

/// A whole number from `min` to `max` in a body, where a text is none.
pub fn whole_number(min: i64, max: i64) -> impl Fn(Value) -> Result<i64, Problem> {
    move |value| match value {
        Value::String(_) => Err(("WRONG_TYPE", "must be a number, not a text".into())),
        value => integer(min, max)(value),
    }
}

/// A whole number from `min` to `max` in a query, where it is written in digits.
pub fn integer(min: i64, max: i64) -> impl Fn(Value) -> Result<i64, Problem> {
    move |value| {
        let number = match &value {
            Value::String(digits)
                if digits.len() <= 19 && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                digits.parse().ok()
            }
            other => other.as_i64(),
        };
        let within = || ("OUT_OF_RANGE", format!("must be a whole number from {min} to {max}"));
        number.filter(|number| (min..=max).contains(number)).ok_or_else(within)
    }
}

/// A list of texts, each judged by `rule`, `max` at most.
pub fn list<T>(
    max: usize,
    rule: impl Fn(Value) -> Result<T, Problem>,
) -> impl FnOnce(Value) -> Result<Vec<T>, Problem> {
    move |value| match value {
        Value::Array(items) if items.len() <= max => items.into_iter().map(rule).collect(),
        Value::Array(_) => Err(("TOO_MANY", format!("must have at most {max} items"))),
        _ => Err(("WRONG_TYPE", "must be a list".into())),
    }
}

/// The same list with one item at least.
pub fn some_of<T>(
    max: usize,
    rule: impl Fn(Value) -> Result<T, Problem>,
) -> impl FnOnce(Value) -> Result<Vec<T>, Problem> {
    move |value| match list(max, rule)(value)? {
        items if items.is_empty() => Err(("EMPTY", "must name at least one".into())),
        items => Ok(items),
    }
}

/// A JSON object, as the text of it.
pub fn object(value: Value) -> Result<String, Problem> {
    if value.is_object() { Ok(value.to_string()) } else { Err(("WRONG_TYPE", "must be an object".into())) }
}

/// One of a closed set of names.
pub fn one_of<T: std::str::FromStr<Err = String>>(value: Value) -> Result<T, Problem> {
    string(value)?.parse().map_err(|message| ("UNKNOWN_VALUE", message))
}

/// One of these names.
pub fn among<T: Copy>(names: &'static [(&'static str, T)]) -> impl Fn(Value) -> Result<T, Problem> {
    move |value| {
        let text = string(value)?;
        let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            ("UNKNOWN_VALUE", format!("must be one of {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: Value) -> Fields {
        Fields::of_body(body).unwrap()
    }

    fn codes(error: &ApiError) -> Vec<(String, String)> {
        let text = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
        error.details.as_array().unwrap().iter().map(|p| (text(p, "path"), text(p, "code"))).collect()
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let mut fields = fields(json!({"name": 3, "surplus": 1, "due": "tomorrow"}));
        fields.required("name", line(10));
        fields.required("slug", line(10));
        fields.optional("due", instant);
        let error = fields.finish().unwrap_err();
        let expected = [
            ("name", "WRONG_TYPE"),
            ("slug", "REQUIRED"),
            ("due", "INVALID_INSTANT"),
            ("surplus", "UNKNOWN_FIELD"),
        ];
        assert_eq!(codes(&error), expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    }

    #[test]
    fn a_field_is_told_once() {
        let mut fields = fields(json!({}));
        fields.required("to", instant);
        fields.problem("to", "EMPTY_INTERVAL", "must be after from");
        let found = codes(&fields.finish().unwrap_err());
        assert_eq!(found, [("to".to_owned(), "REQUIRED".to_owned())]);
    }

    #[test]
    fn the_problems_of_an_inner_object_are_told_with_its_name() {
        let mut fields = fields(json!({"predicate": {"priority": "high", "surplus": 1}}));
        let read = fields.nested("predicate", |inner| inner.optional("priority", integer(0, 9)));
        assert_eq!(read, None);
        let expected = [("predicate.priority", "OUT_OF_RANGE"), ("predicate.surplus", "UNKNOWN_FIELD")];
        let found = codes(&fields.finish().unwrap_err());
        assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code.to_owned())));
    }

    #[test]
    fn null_clears_what_can_be_cleared_and_nothing_else() {
        let mut fields = fields(json!({"role": null, "name": null}));
        assert_eq!(fields.clearable("role", line(10)), Some(None));
        assert_eq!(fields.clearable("other", line(10)), None);
        assert_eq!(fields.patched("name", line(10)), None);
        assert_eq!(codes(&fields.finish().unwrap_err()), [("name".to_owned(), "NOT_NULLABLE".to_owned())]);
    }

    #[test]
    fn a_text_is_tidied_and_bounded_in_characters() {
        assert_eq!(line(3)(json!(" e\u{301}tε ")), Ok("étε".into()));
        for (text, code) in [
            ("", "EMPTY"),
            ("  ", "EMPTY"),
            ("\u{200b}\u{2060}", "BLANK"),
            ("a\0b", "CONTROL_CHARACTER"),
            ("a\nb", "CONTROL_CHARACTER"),
            ("abcd", "TOO_LONG"),
        ] {
            assert_eq!(line(3)(json!(text)).unwrap_err().0, code, "{text:?}");
        }
        assert_eq!(lines(3)(json!("a\nb")), Ok("a\nb".into()));
        let in_four = in_bytes(4, line(usize::MAX));
        assert_eq!(in_four(json!("éé")), Ok("éé".into()));
        let refused = ("TOO_LONG", "must have at most 4 bytes in UTF-8".to_owned());
        assert_eq!(in_four(json!("abcde")), Err(refused.clone()));
        assert_eq!(in_four(json!("ééé")), Err(refused));
    }

    #[test]
    fn what_happened_before_this_century_did_not_happen_here() {
        assert!(recent(json!("2000-01-01T00:00:00Z")).is_ok());
        for (text, code) in [
            ("0001-01-01T00:00:00Z", "TOO_EARLY"),
            ("1999-12-31T23:59:59.999Z", "TOO_EARLY"),
            ("yesterday", "INVALID_INSTANT"),
        ] {
            assert_eq!(recent(json!(text)).unwrap_err().0, code, "{text}");
        }
    }

    #[test]
    fn an_id_is_written_in_its_usual_form() {
        let usual = "0190a0f0-0000-7000-8000-000000000001";
        assert!(uuid(usual).is_some() && uuid(&usual.to_uppercase()).is_some());
        for text in [
            "",
            "1",
            "0190a0f000007000800000000000000001",
            "{0190a0f0-0000-7000-8000-000000000001}",
            "urn:uuid:0190a0f0-0000-7000-8000-000000000001",
        ] {
            assert!(uuid(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_number_is_whole_and_within_its_bounds() {
        for value in [json!(1), json!("1"), json!(100)] {
            assert!(integer(1, 100)(value).is_ok());
        }
        for value in [
            json!(0),
            json!(101),
            json!(1.5),
            json!(-1),
            json!("1.5"),
            json!("-1"),
            json!(""),
            json!("99999999999999999999"),
            json!(true),
        ] {
            assert!(integer(1, 100)(value.clone()).is_err(), "{value}");
            assert!(whole_number(1, 100)(value.clone()).is_err(), "{value}");
        }
        assert!(whole_number(1, 100)(json!(1)).is_ok());
        assert_eq!(whole_number(1, 100)(json!("1")).unwrap_err().0, "WRONG_TYPE");
    }

    #[test]
    fn a_parameter_is_given_once_unless_it_may_repeat() {
        let uri: Uri = "/x?a=1&a=2&map=A:email&map=B:phone".parse().unwrap();
        let mut fields = Fields::of_query(&uri, &["map"]).unwrap();
        assert_eq!(fields.optional("map", Ok), Some(json!(["A:email", "B:phone"])));
        fields.optional("a", line(5));
        assert_eq!(codes(&fields.finish().unwrap_err()), [("a".to_owned(), "REPEATED".to_owned())]);
    }

    #[test]
    fn only_json_is_json() {
        for (media_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_json(media_type), expected, "{media_type}");
        }
    }
}
