//! Pages of a list, by keyset.
//!
//! A page is continued from the sort value and id of its last row, never from a row count: a row that did not
//! change since page 1 appears exactly once, whatever was added or removed meanwhile. The caller signs the key.

use docket_aggregates::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::columns::At;

/// Which way a list runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest, oldest or first in the alphabet first.
    #[default]
    Asc,
    /// The other way round.
    Desc,
}

impl Order {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Asc => "ASC",
            Self::Desc => "DESC",
        }
    }

    pub(crate) const fn beyond(self) -> &'static str {
        match self {
            Self::Asc => ">",
            Self::Desc => "<",
        }
    }
}

/// The value that a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortValue {
    /// An instant.
    At(Timestamp),
    /// A text, folded.
    Text(String),
    /// A number.
    Number(i64),
    /// An id.
    Id(Uuid),
}

/// Where a page ended. It continues the list only with the same filters and the same order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyset {
    /// The sort value of the last row; none where a list is sorted by id alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<SortValue>,
    /// Further sort value, where two are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<SortValue>,
    /// The id of the last row.
    pub id: Uuid,
}

impl Keyset {
    /// After the row with this id.
    pub fn id(id: impl Into<Uuid>) -> Self {
        Self { value: None, then: None, id: id.into() }
    }

    /// After the row with this sort value and id.
    pub fn after(value: SortValue, id: impl Into<Uuid>) -> Self {
        Self { value: Some(value), then: None, id: id.into() }
    }
}

/// Some rows of a list, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub rows: Vec<T>,
    /// Where the next page begins; none after the last.
    pub next: Option<Keyset>,
}

impl<T> Page<T> {
    /// A page of `limit` rows out of up to `limit + 1` that were read.
    pub(crate) fn of(mut rows: Vec<T>, limit: u32, key: impl FnOnce(&T) -> Keyset) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(key) } else { None };
        Self { rows, next }
    }

    /// The same page with other rows, one for one.
    pub(crate) fn with<U>(self, rows: Vec<U>) -> Page<U> {
        Page { rows, next: self.next }
    }
}

/// How many rows a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// Exactly so many.
    Exactly(u64),
    /// At least so many; counting on would cost more than it tells.
    AtLeast(u64),
}

impl Total {
    /// Rows are counted one by one up to here.
    pub const COUNTED: i64 = 10_000;

    /// From a count that stopped at one more than [`Self::COUNTED`].
    pub(crate) fn counted(count: i64) -> Self {
        let n = count.max(0).cast_unsigned();
        if count > Self::COUNTED { Self::AtLeast(Self::COUNTED.cast_unsigned()) } else { Self::Exactly(n) }
    }
}

/// Adds `AND (value, id) > (…)` in the direction of the order.
///
/// The key of a list that is sorted by another kind of value continues nothing: the page is empty.
pub(crate) fn push_after(
    query: &mut QueryBuilder<'_, Postgres>,
    columns: (&str, SortKind, &str),
    order: Order,
    after: &Keyset,
) {
    let (value, kind, id) = columns;
    if kind == SortKind::Id {
        query.push(format!(" AND {id} {} ", order.beyond())).push_bind(after.id);
        return;
    }
    let start = format!(" AND ({value}, {id}) {} (", order.beyond());
    match (&after.value, kind) {
        (Some(SortValue::At(at)), SortKind::At) => query.push(start).push_bind(At(*at)),
        (Some(SortValue::Text(text)), SortKind::Text) => query.push(start).push_bind(text.clone()),
        _ => {
            query.push(" AND false");
            return;
        }
    };
    query.push(", ").push_bind(after.id).push(")");
}

/// What kind of column a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortKind {
    At,
    Text,
    /// By id alone.
    Id,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_leads_nowhere() {
        let key = |n: &u128| Keyset::id(Uuid::from_u128(*n));
        assert_eq!(Page::of(vec![1, 2], 2, key).next, None);
        let page = Page::of(vec![1, 2, 3], 2, key);
        assert_eq!((page.rows, page.next), (vec![1, 2], Some(Keyset::id(Uuid::from_u128(2)))));
        assert_eq!(Page::of(vec![], 2, key).next, None);
    }

    #[test]
    fn a_key_survives_its_own_form() {
        for key in [
            Keyset::id(Uuid::from_u128(1)),
            Keyset::after(SortValue::At(Timestamp::from_millis(1)), Uuid::from_u128(1)),
            Keyset::after(SortValue::Text("a".into()), Uuid::from_u128(1)),
        ] {
            let form = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<Keyset>(&form).unwrap(), key);
        }
    }

    #[test]
    fn a_total_is_exact_up_to_ten_thousand() {
        assert_eq!(Total::counted(10_000), Total::Exactly(10_000));
        assert_eq!(Total::counted(10_001), Total::AtLeast(10_000));
    }
}
