//! Values that inputs and answers are made of.
//!
//! Ids are opaque to an agent: text that is no id of ours is simply an id that does not exist, and is told back as it
//! was given. Enumerations are those of the aggregates, so that a new status cannot be forgotten here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::str::FromStr;

use docket_aggregates::Timestamp;
use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, ScriptTemplateId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::script_execution::ExecutionStatus;
use docket_aggregates::script_template::NodeKind;
use docket_projections::memberships::ContactSource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::schema::CLEARS;

/// What an id looks like, whatever it is the id of.
pub const ID_PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

/// An id as it was given. Text that is no UUID stands for one that nothing bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given<T> {
    /// The id.
    pub id: T,
    /// The text that was sent.
    pub text: String,
}

impl<T: From<Uuid>> Given<T> {
    fn new(text: String) -> Self {
        // Ids are of version 7 or 5 in namespaces of ours; a hash within the nil namespace is none of them.
        let id = text.parse().unwrap_or_else(|_| Uuid::new_v5(&Uuid::nil(), text.as_bytes()));
        Self { id: id.into(), text }
    }
}

impl<'de, T: From<Uuid>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl<T> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": ID_PATTERN })
    }
}

/// Ids in the order given, each once, and how many were repeats.
pub fn distinct<T: Copy + Eq + std::hash::Hash>(given: &[Given<T>]) -> (Vec<Given<T>>, usize) {
    let mut seen = HashSet::new();
    let ids: Vec<_> = given.iter().filter(|given| seen.insert(given.id)).cloned().collect();
    let repeats = given.len() - ids.len();
    (ids, repeats)
}

/// The bare ids.
pub fn ids<T: Copy>(given: &[Given<T>]) -> Vec<T> {
    given.iter().map(|given| given.id).collect()
}

/// One of a closed list of names.
pub trait Listed: Copy + 'static {
    /// All of them.
    fn all() -> Vec<Self>;
    /// Its name.
    fn listed_name(self) -> &'static str;
}

impl Listed for CampaignStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

impl Listed for MembershipStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

impl Listed for NodeKind {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

impl Listed for ExecutionStatus {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

impl Listed for ContactSource {
    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn listed_name(self) -> &'static str {
        self.name()
    }
}

/// A value with a name, in inputs and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<T>(pub T);

/// The values behind some names.
pub fn named<T: Copy>(names: &[Name<T>]) -> Vec<T> {
    names.iter().map(|name| name.0).collect()
}

impl<T: Listed> Serialize for Name<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.listed_name())
    }
}

impl<'de, T: Listed + FromStr> Deserialize<'de> for Name<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(|_| serde::de::Error::custom("is not one of the names"))
    }
}

impl<T: Listed> JsonSchema for Name<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = T::all().into_iter().map(Listed::listed_name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// An instant, RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub Timestamp);

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A field of a patch: absent keeps, null clears, a value replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Not said.
    #[default]
    Keep,
    /// Null.
    Clear,
    /// A value.
    Set(T),
}

impl<T> Patch<T> {
    /// As the aggregates take it.
    pub fn nested(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }

    /// The same with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(f(value)),
        }
    }

    /// The value that is set.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// Whether nothing was said.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<T>::deserialize(deserializer)? {
            None => Self::Clear,
            Some(value) => Self::Set(value),
        })
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Patch_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Option::<T>::json_schema(generator);
        schema.insert(CLEARS.to_owned(), true.into());
        schema
    }
}

/// Which way a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Smallest, oldest or first in the alphabet first.
    Asc,
    /// The other way round.
    Desc,
}

impl From<Order> for docket_projections::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Asc => Self::Asc,
            Order::Desc => Self::Desc,
        }
    }
}

/// Where a contact came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It was entered one by one.
    Crm,
    /// It came in a file.
    ImportFolder,
}

impl From<Source> for ContactSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Crm => Self::Crm,
            Source::ImportFolder => Self::ImportFolder,
        }
    }
}

/// A campaign id as given.
pub type GivenCampaign = Given<CampaignId>;
/// An agent id as given.
pub type GivenAgent = Given<AgentId>;
/// A contact id as given.
pub type GivenContact = Given<ContactId>;
/// A script template id as given.
pub type GivenScript = Given<ScriptTemplateId>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_none_is_told_back_as_given() {
        let given: Given<CampaignId> = serde_json::from_str("\"spring\"").unwrap();
        assert_eq!(given.text, "spring");
        let id = "01890000-0000-7000-8000-000000000001";
        let given: Given<CampaignId> = serde_json::from_str(&format!("\"{id}\"")).unwrap();
        assert_eq!(given.id.to_string(), id);
    }

    #[test]
    fn repeats_are_collapsed_in_the_order_given() {
        let given: Vec<Given<CampaignId>> = ["b", "a", "b"].map(|text| Given::new(text.into())).into();
        let (ids, repeats) = distinct(&given);
        assert_eq!((ids[0].text.as_str(), ids[1].text.as_str(), repeats), ("b", "a", 1));
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        #[derive(Deserialize)]
        struct One {
            #[serde(default)]
            field: Patch<u8>,
        }
        for (text, expected) in
            [("{}", Patch::Keep), (r#"{"field":null}"#, Patch::Clear), (r#"{"field":1}"#, Patch::Set(1))]
        {
            assert_eq!(serde_json::from_str::<One>(text).unwrap().field, expected);
        }
    }
}
