//! The reference is of what is served: the document and the router have the same routes, and the page is there.

use std::collections::BTreeSet;

use docket::access_log::AccessLog;
use docket::http::{HttpState, Settings, openapi, router};
use docket::tools::catalog;
use hyper::Method;
use serde_json::Value;

use crate::support::TestApp;

/// Paths of the router, as it prints itself: the tables that it is made from do not come into it.
fn paths_of(router: &axum::Router) -> BTreeSet<String> {
    let printed = format!("{router:?}");
    let quoted = printed.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    // The fallback is a route of the router too.
    quoted.filter(|path| !path.contains("axum_fallback") && *path != "/").map(str::to_owned).collect()
}

#[tokio::test]
async fn the_router_and_the_document_have_the_same_routes() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (access_log, _writing) = AccessLog::open(app.app.ledger.pool().clone(), app.clock.clone());
    let state = HttpState::new(app.app.clone(), access_log, Settings::default());
    let served = paths_of(&router(state));
    assert!(served.len() > 15, "{served:?}");

    // A tool has a path of its own in the document, and all of them are one route.
    let document = openapi::document();
    let tools = "/crm/agent/tools/";
    let listed: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(|path| if path.starts_with(tools) { format!("{tools}{{tool_name}}") } else { path.clone() })
        .collect();
    assert_eq!(listed, served);
    for tool in catalog().iter() {
        assert!(document["paths"][format!("{tools}{}", tool.name)]["post"].is_object(), "{}", tool.name);
    }

    // Without a token every method that is known is refused as that, or answers; every other one is not known.
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path_with_ids = path
            .split('/')
            .map(|part| if part.starts_with('{') { "0190a0f0-0000-7000-8000-00000000000f" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let (status, ..) = client.exchange(method.clone(), &path_with_ids, &[], vec![]).await;
            let known = methods.get(method.as_str().to_ascii_lowercase()).is_some();
            assert_eq!(status != 405, known, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn the_document_and_its_page_are_served_to_everybody() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for (path, media_type) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
    ] {
        let (status, headers, body) = client.exchange(Method::GET, path, &[], vec![]).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, media_type), "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        if path == "/openapi.json" {
            let served: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(served, *openapi::document());
        }
    }
}
