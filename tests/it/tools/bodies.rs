//! What is wrong with a call before a tool sees it, and in which order that is found out.

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use super::{JSON, NOBODY, Office, Told, caller, campaign, text};
use crate::support::{Client, TestApp};

const LIST: &str = "/crm/agent/tools/list_campaigns";

#[tokio::test]
async fn a_body_is_read_strictly() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let deep = format!("{{\"input\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let large = format!("{}{{}}", " ".repeat(1 << 20));
    let rows: [(&[u8], u16, &str); 12] = [
        (b"{", 400, "MALFORMED_JSON"),
        (b"", 400, "MALFORMED_JSON"),
        (b"{\"input\":{},\"input\":{}}", 400, "DUPLICATE_KEY"),
        (b"{\"input\":\"\xff\"}", 400, "NOT_UTF8"),
        (deep.as_bytes(), 400, "TOO_DEEP"),
        (large.as_bytes(), 413, "BODY_TOO_LARGE"),
        (b"[]", 400, "INVALID_INPUT"),
        (b"{}", 400, "INVALID_INPUT"),
        (b"{\"input\":null}", 400, "INVALID_INPUT"),
        (b"{\"input\":[]}", 400, "INVALID_INPUT"),
        (b"{\"input\":{},\"requestId\":\"\"}", 400, "INVALID_INPUT"),
        (b"{\"input\":{},\"foo\":1}", 400, "UNKNOWN_FIELD"),
    ];
    for (body, status, code) in rows {
        let answer = client.send(Method::POST, LIST, &[JSON], body.to_vec()).await.unwrap();
        Told::checked("list_campaigns", answer).refused(status, code);
    }
}

#[tokio::test]
async fn an_organization_is_named_by_its_id() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let off = app.organization().await;
    let admin = caller(&app, Role::InstanceAdmin, &client).await;
    switch_off(&admin, off).await;
    let long = "a".repeat(65);
    for (organization, status, code) in [
        (Value::Null, 400, "INVALID_ORGANIZATION_ID"),
        (json!(""), 400, "INVALID_ORGANIZATION_ID"),
        (json!("a b"), 400, "INVALID_ORGANIZATION_ID"),
        (json!(long), 400, "INVALID_ORGANIZATION_ID"),
        (json!(5), 400, "INVALID_ORGANIZATION_ID"),
        (json!("acme"), 404, "ORG_NOT_FOUND"),
        (json!(NOBODY), 404, "ORG_NOT_FOUND"),
        (json!("00000000-0000-0000-0000-000000000000"), 404, "ORG_NOT_FOUND"),
        (json!(off), 403, "CRM_MODULE_DISABLED"),
    ] {
        let body = json!({ "organizationId": organization, "input": {} });
        let told = Told::checked("list_campaigns", client.post(LIST, body).await);
        told.refused(status, code);
        if code == "INVALID_ORGANIZATION_ID" {
            assert_eq!(told.meta()["fieldErrors"][0]["path"], json!("organizationId"));
        }
        if let Some(id) = organization.as_str().filter(|id| !id.contains(' ')) {
            let answer = client.get(&format!("/crm/agent/capabilities?organizationId={id}")).await;
            Told::checked("capabilities", answer).refused(status, code);
        }
    }
}

#[tokio::test]
async fn an_outsider_learns_nothing_about_what_exists() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for role in Role::ALL.into_iter().filter(|role| *role != Role::SuperAdmin) {
        let outsider = caller(&app, role, &client).await;
        for tool in ["list_campaigns", "no_such_tool"] {
            super::ask(&outsider, tool, json!({})).await.refused(403, "NOT_SUPER_ADMIN");
        }
        let answer = outsider.get("/crm/agent/capabilities").await;
        Told::checked("capabilities", answer).refused(403, "NOT_SUPER_ADMIN");
    }
}

#[tokio::test]
async fn capabilities_name_one_organization_at_most() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let id = client.organization;
    for (query, status, code) in [
        (format!("organizationId={id}&organizationId={id}"), 400, "INVALID_INPUT"),
        ("organisationId=x".to_owned(), 400, "UNKNOWN_FIELD"),
    ] {
        let answer = client.get(&format!("/crm/agent/capabilities?{query}")).await;
        Told::checked("capabilities", answer).refused(status, code);
    }
    let answer = client.post("/crm/agent/capabilities", json!({})).await;
    Told::checked("capabilities", answer).refused(405, "METHOD_NOT_ALLOWED");
}

/// One fault of a call, in the order in which faults are found out.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Method,
    Token,
    Role,
    Tool,
    Body,
    OrganizationId,
    UnknownOrganization,
    ModuleOff,
    Schema,
    Meaning,
}

impl Flaw {
    const ALL: [(Self, u16, &'static str); 10] = [
        (Self::Method, 405, "METHOD_NOT_ALLOWED"),
        (Self::Token, 401, "UNAUTHENTICATED"),
        (Self::Role, 403, "NOT_SUPER_ADMIN"),
        (Self::Tool, 404, "TOOL_NOT_FOUND"),
        (Self::Body, 400, "UNKNOWN_FIELD"),
        (Self::OrganizationId, 400, "INVALID_ORGANIZATION_ID"),
        (Self::UnknownOrganization, 404, "ORG_NOT_FOUND"),
        (Self::ModuleOff, 403, "CRM_MODULE_DISABLED"),
        (Self::Schema, 400, "INVALID_INPUT"),
        (Self::Meaning, 409, "VERSION_CONFLICT"),
    ];
}

#[tokio::test]
async fn of_two_faults_the_earlier_check_answers() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let viewer = caller(&app, Role::Viewer, &client).await;
    let stranger = Client::new(app.address(), "dkt_x".to_owned(), client.organization);
    let off = app.organization().await;
    switch_off(&caller(&app, Role::InstanceAdmin, &client).await, off).await;
    let input = json!({ "campaignId": campaign(&client, "Spring").await, "patch": { "goal": "more" } });

    for (first, (earlier, status, code)) in Flaw::ALL.into_iter().enumerate() {
        for (later, ..) in Flaw::ALL.into_iter().skip(first) {
            let (mut method, mut sender, mut tool) = (Method::POST, &client, "update_outbound_campaign");
            let mut body = json!({ "organizationId": client.organization, "input": input });
            // The earlier flaw comes last: two that concern the same member cannot both be there.
            for flaw in [later, earlier] {
                match flaw {
                    Flaw::Method => method = Method::PUT,
                    Flaw::Token => sender = &stranger,
                    Flaw::Role => sender = &viewer,
                    Flaw::Tool => tool = "update_outbound_campaigns",
                    Flaw::Body => body["surplus"] = json!(1),
                    Flaw::OrganizationId => body["organizationId"] = json!("!"),
                    Flaw::UnknownOrganization => body["organizationId"] = json!(NOBODY),
                    Flaw::ModuleOff => body["organizationId"] = json!(off),
                    Flaw::Schema => body["input"]["patch"]["name"] = json!(1),
                    Flaw::Meaning => body["input"]["expectedVersion"] = json!(7),
                }
            }
            let path = format!("/crm/agent/tools/{tool}");
            let answer = sender.send(method, &path, &[JSON], body.to_string().into_bytes()).await.unwrap();
            let told = Told::checked(tool, answer);
            assert_eq!((told.status, told.code()), (status, code), "{earlier:?} before {later:?}");
        }
    }
}

async fn switch_off(admin: &Client, organization: OrganizationId) {
    let path = format!("/api/admin/organizations/{organization}");
    let body = json!({ "crmEnabled": false }).to_string().into_bytes();
    assert_eq!(admin.send(Method::PATCH, &path, &[JSON], body).await.unwrap().0, 200);
}

#[tokio::test]
async fn the_unscoped_tool_ignores_an_organization_and_says_so() {
    let office = Office::empty().await;
    let told = office.ask("crm_resolve_workspace", json!({ "query": "acme" })).await;
    assert_eq!(told.meta()["warnings"][0]["code"], json!("ORGANIZATION_IGNORED"));
    assert_eq!(text(&told.data()["matches"][0]["organizationId"]), office.client.organization.to_string());
    for query in ["%", "_", "nobody at all"] {
        let told = office.ask("crm_resolve_workspace", json!({ "query": query })).await;
        assert_eq!(told.data()["matches"], json!([]), "{query}");
    }
    office.ask("crm_resolve_workspace", json!({ "query": "   " })).await.refused(400, "INVALID_INPUT");
}

#[tokio::test]
async fn what_was_sent_is_repeated_only_so_far() {
    let office = Office::empty().await;
    let long = "x".repeat(200_000);
    let option = json!({ "id": "s", "type": "select", "text": "?", "options": [long] });
    for (tool, input, code) in [
        ("list_campaigns", json!({ &long: 1, format!("{long}y"): 2 }), "INVALID_INPUT"),
        ("create_script_template", json!({ "name": "A", "steps": [{ &long: 1 }] }), "INVALID_INPUT"),
        ("create_script_template", json!({ "name": "A", "steps": [option] }), "SCRIPT_INVALID"),
    ] {
        let told = office.ask(tool, input).await;
        assert_eq!(told.code(), code, "{tool}");
        let bytes = told.body.to_string().len();
        assert!(bytes < 10_000, "{tool}: {bytes}");
    }
}
