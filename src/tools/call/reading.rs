//! A call that only reads: what it is asked for, an answer that fits, and a cursor to what follows.
//!
//! A page that is too long is made anew with fewer rows, so that its cursor continues just where it ends; a list that has
//! no pages is cut, and the answer says so. A cursor belongs to one organization, tool and set of filters.

use std::sync::Arc;

use docket_aggregates::ids::OrganizationId;
use docket_projections::Total;
use serde_json::Value;

use super::Told;
use super::options::{options, without};
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::{Pagination, Warning};
use crate::tools::concise;
use crate::tools::context::{Call, LIMIT, PageOptions, ReadOptions, ToolContext};
use crate::tools::cursor::{Cursor, List};
use crate::tools::draft::ReadFn;
use crate::tools::refusal::{Refusal, ToolResult};
use crate::tools::tool::Tool;

/// How often a page that is too long is made anew with fewer rows.
const PAGE_TRIES: usize = 3;
/// Input members that only say how an answer is to be made.
const READ_OPTIONS: [&str; 6] = ["limit", "cursor", "responseFormat", "consistency", "minPosition", "asOf"];

impl Told {
    /// What a read is asked for, and the filters that its cursors are bound to.
    pub(super) async fn reading(
        &mut self,
        app: &App,
        caller: &Caller,
        tool: &Tool,
        organization: OrganizationId,
        input: &Value,
    ) -> ToolResult<(Call, String)> {
        let read: ReadOptions = options(input)?;
        if read.as_of.is_some() {
            return Err(Refusal::AsOfNotYet);
        }
        let mut page = PageOptions::default();
        let mut cursor = None;
        let filters = without(input, &READ_OPTIONS)?;
        if tool.pages {
            page = options(input)?;
            if let Some(text) = &page.cursor {
                let keys = app.ledger.keys().organization(organization).await?;
                cursor = Some(Cursor::verify(text, &keys, List { tool: tool.name, filters: &filters })?);
            }
        }
        let call = Call {
            app: app.clone(),
            caller: caller.clone(),
            organization,
            now: app.clock.now(),
            read,
            limit: page.limit.unwrap_or(LIMIT),
            cursor,
            bound: None,
        };
        Ok((call, filters))
    }

    /// What a read answers, made to fit unless everything is wanted.
    pub(super) async fn fitting(
        &mut self,
        tool: &Tool,
        run: &ReadFn,
        mut call: Call,
        input: Value,
    ) -> ToolResult<(ToolContext, Value)> {
        let wanted = call.limit;
        for last in (0..PAGE_TRIES).rev() {
            let context = ToolContext::new(Arc::new(call.clone()));
            let mut data = run(context.clone(), input.clone()).await?;
            if context.detailed() {
                return Ok((context, data));
            }
            let longest = if tool.whole { usize::MAX } else { concise::TEXT_MAX };
            self.meta.truncated |= concise::tidy(&mut data, longest);
            if tool.whole {
                return Ok((context, data));
            }
            if tool.pages {
                if let Some(fewer) = concise::rows_that_fit(&data, call.limit).filter(|_| last > 0) {
                    call.limit = fewer;
                    continue;
                }
                if call.limit < wanted {
                    let shown = call.limit;
                    self.shortened(
                        format!("{shown} rows fit a concise page; the next ones follow with nextCursor"),
                        "limit",
                    );
                }
            } else {
                for cut in concise::cut_lists(&mut data) {
                    let concise::Cut { path, shown, of } = cut;
                    self.shortened(
                        format!("{shown} of {of} {path} fit a concise answer; ask for fewer at a time"),
                        "",
                    );
                }
            }
            return Ok((context, data));
        }
        Err(Refusal::Defect("a page was made too often".into()))
    }

    fn shortened(&mut self, message: String, field: &str) {
        self.meta.truncated = true;
        let path = (!field.is_empty()).then(|| format!("input.{field}"));
        let message = format!("{message}, or send responseFormat detailed");
        self.meta.warnings.push(Warning { code: "SHORTENED".to_owned(), message, path });
    }

    /// The answer of a read: its page is signed.
    pub(super) async fn read(
        &mut self,
        app: &App,
        tool: &Tool,
        context: &ToolContext,
        filters: &str,
        data: Value,
    ) -> ToolResult<Value> {
        let notes = context.notes();
        self.meta.position = notes.position;
        self.meta.truncated |= notes.truncated;
        self.meta.warnings.extend(notes.warnings);
        if let Some((next, total)) = notes.page {
            let position = notes.position.unwrap_or(0);
            let began = context.call.cursor.as_ref().map_or(position, |cursor| cursor.position);
            let next_cursor = match next {
                None => None,
                Some(after) => {
                    let keys = app.ledger.keys().organization(context.organization()).await?;
                    let cursor = Cursor { after, position: began };
                    Some(cursor.sign(&keys, List { tool: tool.name, filters })?)
                }
            };
            let (total, total_at_least) = match total {
                Total::Exactly(n) => (Some(n), None),
                Total::AtLeast(n) => (None, Some(n)),
            };
            self.meta.pagination = Some(Pagination {
                limit: context.limit(),
                has_more: next_cursor.is_some(),
                next_cursor,
                total,
                total_at_least,
                changed_since: position > began,
            });
        }
        Ok(data)
    }
}
