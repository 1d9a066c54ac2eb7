//! What the reference says of the routes of imports.

use docket_aggregates::contact::LegalBasis;
use docket_aggregates::import::OnDuplicate;
use serde_json::json;

use super::super::spec::{Spec, object, schema};
use super::{CommitView, FolderView, InvalidRowView};
use crate::imports::Staged;
use crate::shapes;

/// What the reference says of [`super::upload`].
pub fn uploading() -> Spec {
    let map =
        json!({ "type": "array", "maxItems": 100, "items": { "type": "string", "pattern": "^.+:.+$" } });
    Spec::new("Upload a file of contacts")
        .query("name", shapes::line(200), "What the folder is called; the day if nobody says.")
        .query("source", shapes::line(200), "Where the file comes from.")
        .query("legalBasis", shapes::one_of::<LegalBasis>(), "On what ground its contacts are kept.")
        .query("map", map, "A column and the field it is, as in `Courriel:email`; once for each column.")
        .file("text/csv")
        .answers(201, "The folder", schema::<Staged>())
        .refuses(&[408, 507])
}

/// What the reference says of [`super::list`].
pub fn listing() -> Spec {
    Spec::new("List the import folders, the newest first").page(
        schema::<FolderView>(),
        100,
        shapes::id(),
        "The importFolderId of the last one seen.",
    )
}

/// What the reference says of [`super::show`].
pub fn showing() -> Spec {
    Spec::new("See a folder and how far it has come").answers(200, "The folder", schema::<FolderView>())
}

/// What the reference says of [`super::rows`].
pub fn rows() -> Spec {
    Spec::new("List the rows that cannot become contacts")
        .query("state", json!({ "const": "invalid" }), "Which rows: there are only these.")
        .page(
            schema::<InvalidRowView>(),
            1_000,
            shapes::integer(0, 1 << 53),
            "The line of the last one seen.",
        )
}

/// What the reference says of [`super::commit`].
pub fn committing() -> Spec {
    Spec::new("Make contacts of a folder's rows")
        .header(
            "Prefer",
            json!({ "type": "string", "pattern": "^wait=[0-9]{1,2}$" }),
            "How many seconds to wait for the end (RFC 7240).",
        )
        .body(object([
            ("onDuplicate", shapes::or_null(shapes::one_of::<OnDuplicate>())),
            ("dryRun", shapes::or_null(shapes::boolean())),
        ]))
        .answers(200, "What it came to", schema::<CommitView>())
        .answers(202, "It goes on; the folder tells how far it is", schema::<CommitView>())
        .with_header("Location", "The folder.")
}
