//! JSON Schemas of the values that the company API takes and answers with.
//!
//! The views derive their schemas; what schemars cannot derive, because the type lives where no schema is known, is
//! here, beside the shapes of inputs. An input's shape says what the rule of the same name in `http::input` accepts.

use std::borrow::Cow;
use std::marker::PhantomData;

use docket_aggregates::allowlist::EntryKind;
use docket_aggregates::approval::ApprovalStatus;
use docket_aggregates::approval_rules::Action;
use docket_aggregates::channel::Channel;
use docket_aggregates::contact::LegalBasis;
use docket_aggregates::enrollment::EnrollmentStatus;
use docket_aggregates::import::{ImportStage, OnDuplicate};
use docket_aggregates::membership::{CallOutcome, MembershipStatus};
use docket_aggregates::message::{Delivery, DispatchState, MessageStatus};
use docket_aggregates::sequence::SequenceStatus;
use docket_aggregates::suppression::SuppressionReason;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Value, json};

/// An RFC 3339 instant.
pub struct Instant;

impl JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A closed set of names.
pub trait Names: Serialize + Sized + 'static {
    /// All of them.
    fn all() -> Vec<Self>;
}

impl Names for CallOutcome {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for MembershipStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for LegalBasis {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for OnDuplicate {
    fn all() -> Vec<Self> {
        vec![Self::Skip, Self::Update]
    }
}

impl Names for ImportStage {
    fn all() -> Vec<Self> {
        vec![Self::Staging, Self::Staged, Self::Committing, Self::Committed]
    }
}

impl Names for Channel {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for Action {
    fn all() -> Vec<Self> {
        vec![Self::AutoApprove, Self::QueueForManual]
    }
}

impl Names for ApprovalStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for EntryKind {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for MessageStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for DispatchState {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for Delivery {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for SuppressionReason {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

impl Names for SequenceStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

/// Without the one of an enrollment that never was, which no answer shows.
impl Names for EnrollmentStatus {
    fn all() -> Vec<Self> {
        Self::ALL.into_iter().filter(|status| *status != Self::None).collect()
    }
}

/// One name of a closed set.
pub struct OneOf<T>(PhantomData<T>);

impl<T: Names> JsonSchema for OneOf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": T::all() })
    }
}

/// One name of a closed set, in an input.
pub fn one_of<T: Names>() -> Value {
    json!({ "type": "string", "enum": T::all() })
}

/// A text of one line.
pub fn line(max: usize) -> Value {
    // Neither white space at its ends nor control characters, which would be trimmed or refused.
    let pattern =
        r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$";
    json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
}

/// A text of any number of lines.
pub fn lines(max: usize) -> Value {
    let pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$";
    json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
}

/// The same, kept letter by letter: it may begin and end with spaces.
pub fn as_given(max: usize) -> Value {
    let pattern = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$";
    json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
}

/// An e-mail address. What is accepted is wider: letters of every alphabet.
pub fn email() -> Value {
    json!({
        "type": "string",
        "format": "email",
        "maxLength": 254,
        "pattern": r"^[A-Za-z0-9_-]{1,32}(\.[A-Za-z0-9_-]{1,31})?@[a-z]([a-z0-9]{0,61}[a-z0-9])?\.[a-z]{2,20}$",
    })
}

/// A short name used in addresses.
pub fn slug() -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9-]{1,64}$" })
}

/// An id.
pub fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

/// An RFC 3339 instant.
pub fn instant() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// True or false.
pub fn boolean() -> Value {
    json!({ "type": "boolean" })
}

/// A whole number.
pub fn integer(min: i64, max: i64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

/// A list of at most so many.
pub fn list(max: usize, item: Value) -> Value {
    json!({ "type": "array", "maxItems": max, "items": item })
}

/// The same list with one item at least.
pub fn some_of(max: usize, item: Value) -> Value {
    json!({ "type": "array", "minItems": 1, "maxItems": max, "items": item })
}

/// The same, or null.
pub fn or_null(mut shape: Value) -> Value {
    if let Some(kind) = shape.get("type").cloned() {
        shape["type"] = json!([kind, "null"]);
    }
    if let Some(names) = shape.get_mut("enum").and_then(Value::as_array_mut) {
        names.push(Value::Null);
    }
    shape
}
