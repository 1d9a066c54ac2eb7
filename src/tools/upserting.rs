//! Which id an upsert gives to what it makes.
//!
//! Several templates may have one name, so a name cannot be claimed. Yet of imports that go by the name and run at once one
//! makes the template, and the others find it. To this end the id of what an upsert makes follows from the name: two that
//! make it write to the same stream, the append refuses one of them, and that one is planned anew. Where the name came
//! free again, because its template was deleted or is called otherwise by now, the next id of the name's row is used.

use docket_aggregates::Decides;
use uuid::Uuid;

use super::{ToolContext, ToolResult};
use crate::clock::following;
use crate::ledger::Versioned;

/// The warning of a template that says already what was given: it is told with those that are brought up to date, keeps its
/// version, and is no fault of the import.
pub(super) const UNCHANGED: &str = "UNCHANGED";

/// The place of a name in its row of ids.
pub(super) struct Place<A> {
    /// What was made last under this name, whatever has become of it.
    pub last: Option<(Uuid, Versioned<A>)>,
    /// The id of what is made next.
    pub next: Uuid,
}

/// Looks the name up. The hash is keyed: an id does not tell a name to whoever guesses it. Like every id that is minted it is of
/// version 7; its time is when the organization was founded, since those who make it at once have no other in common.
pub(super) async fn place<A: Decides + Clone + 'static>(
    ctx: &ToolContext,
    name: &str,
) -> ToolResult<Place<A>> {
    let (ledger, organization) = (&ctx.app().ledger, ctx.organization());
    let keys = ledger.keys().organization(organization).await?;
    let id = |n: u64| {
        let hash = keys.hash("docket/1 upserted", &[A::TYPE, name, &n.to_string()]);
        following(organization.uuid(), &hash)
    };
    let taken =
        async |n: u64| -> ToolResult<bool> { Ok(ledger.load::<A>(organization, id(n)).await?.version > 0) };
    // Ids are taken one after the other: the first free one is found by halving.
    let (mut first, mut free) = (0, 0);
    while taken(free).await? {
        first = free + 1;
        free = 2 * free + 1;
    }
    while first < free {
        let middle = first.midpoint(free);
        if taken(middle).await? {
            first = middle + 1;
        } else {
            free = middle;
        }
    }
    let last = match free.checked_sub(1) {
        Some(last) => Some((id(last), ledger.load(organization, id(last)).await?)),
        None => None,
    };
    Ok(Place { last, next: id(free) })
}
