//! Pages of a list that is short enough to be read whole, and whose order is not that of its ids.

use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::error::ApiError;
use super::input::{Fields, id, integer};
use super::reply;

/// Which rows were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    limit: usize,
    after: Option<Uuid>,
}

impl Asked {
    /// `limit`, from 1 to `most` and else `most`, and `after`; nothing else is known.
    pub fn of_query(uri: &Uri, most: i64) -> Result<Self, ApiError> {
        let mut fields = Fields::of_query(uri, &[])?;
        let limit = fields.optional("limit", integer(1, most)).unwrap_or(most);
        let after = fields.optional("after", id::<Uuid>);
        fields.finish()?;
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), after })
    }

    /// The page of `all` that was asked for. An `after` that is not, or no more, among them is refused: nobody knows where
    /// it stood.
    pub fn answer<T: Serialize>(
        self,
        all: &[T],
        id_of: impl Fn(&T) -> Uuid,
        uri: &Uri,
    ) -> Result<Response, ApiError> {
        let from = match self.after {
            None => 0,
            Some(after) => all
                .iter()
                .position(|row| id_of(row) == after)
                .map(|seen| seen + 1)
                .ok_or_else(|| ApiError::field("after", "UNKNOWN_ID", "is not in this list"))?,
        };
        let rest = &all[from..];
        let page = &rest[..rest.len().min(self.limit)];
        let next = page.last().filter(|_| page.len() < rest.len());
        let next = next.map(|last| format!("limit={}&after={}", self.limit, id_of(last)));
        Ok(reply::page(&page, uri.path(), next))
    }
}
