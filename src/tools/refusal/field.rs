//! What is wrong with one field of a request: where it stands, a name for machines, a sentence for people.
//!
//! What was sent is repeated only so far, whatever its length: a refusal does not grow with what it refuses.

use schemars::JsonSchema;
use serde::Serialize;

use crate::spelling::shortened;

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// Which one: its path in the body, as `input.filter.tagsAny[0]`.
    pub path: String,
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
}

/// Characters of a path that are told, at most: more than the deepest script has.
pub const PATH_MAX: usize = 600;
/// Characters of a message that are told, at most: it may list what there is to choose from.
pub const MESSAGE_MAX: usize = 2_000;
/// Characters by which a name is told that somebody sent and nobody knows.
pub const NAME_SHOWN: usize = 80;

/// What is said of a member that nobody knows.
pub fn unknown_field(name: &str) -> String {
    format!("unknown field {}", shortened(name, NAME_SHOWN))
}

impl FieldError {
    /// A fault of the field at `path` within the input.
    pub fn new(path: &str, code: &'static str, message: impl Into<String>) -> Self {
        let path = if path.is_empty() { "input".to_owned() } else { format!("input.{path}") };
        Self { path, code, message: message.into() }.shortened()
    }

    /// What was sent is repeated only so far: whoever reads the refusal has it already.
    pub fn shortened(self) -> Self {
        let path = shortened(&self.path, PATH_MAX).into_owned();
        Self { path, code: self.code, message: shortened(&self.message, MESSAGE_MAX).into_owned() }
    }
}
