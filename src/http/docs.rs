//! The reference, for programs and for people: `/openapi.json`, and a page that shows it.
//!
//! The page is three small files of our own, served from here: it needs no network beyond this server, runs no script
//! but its own, and shows whatever the document says.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;
use std::sync::LazyLock;

use super::openapi;
use super::routes::Open;
use super::spec::Spec;

/// What the page may load: what this server serves, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the reference.
pub fn all() -> Vec<Open> {
    let route = |path, id, spec, handler| Open {
        method: Method::GET,
        path,
        id,
        tag: "Operation",
        token: false,
        spec,
        handler,
    };
    vec![
        route("/openapi.json", "docs_document", document_spec, || get(document)),
        route("/docs", "docs_page", page_spec, || get(page)),
        route("/docs/page.js", "docs_script", script_spec, || get(script)),
        route("/docs/page.css", "docs_style", style_spec, || get(style)),
    ]
}

fn document_spec() -> Spec {
    Spec::new("This reference").answers(200, "OpenAPI 3.1", json!({ "type": "object" })).refuses(&[431])
}

fn text(summary: &'static str, media_type: &'static str) -> Spec {
    Spec::new(summary).answers_with(200, "The file", media_type, json!({ "type": "string" })).refuses(&[431])
}

fn page_spec() -> Spec {
    text("The page that shows this reference", "text/html")
}

fn script_spec() -> Spec {
    text("The page's script", "text/javascript")
}

fn style_spec() -> Spec {
    text("The page's style", "text/css")
}

async fn document() -> Response {
    static WRITTEN: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());
    file("application/json", WRITTEN.clone())
}

async fn page() -> Response {
    file("text/html; charset=utf-8", Bytes::from_static(include_bytes!("docs/page.html")))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", Bytes::from_static(include_bytes!("docs/page.js")))
}

async fn style() -> Response {
    file("text/css; charset=utf-8", Bytes::from_static(include_bytes!("docs/page.css")))
}

fn file(media_type: &'static str, content: Bytes) -> Response {
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    /// Nothing of the page may come from elsewhere or run from within it.
    #[test]
    fn the_page_needs_nothing_but_this_server() {
        let page = include_str!("docs/page.html");
        let script = include_str!("docs/page.js");
        for text in [page, script, include_str!("docs/page.css")] {
            assert!(!text.contains("://"), "something is loaded from elsewhere");
        }
        for word in ["<style", "style=", "onclick", "<script>", "javascript:"] {
            assert!(!page.contains(word), "{word}");
        }
        for word in ["eval(", "new Function", "innerHTML", ".style."] {
            assert!(!script.contains(word), "{word}");
        }
    }
}
