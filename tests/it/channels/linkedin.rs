//! LinkedIn through Unipile: what is sent, and what each answer means.

use docket::channels::{Channels, Endpoints, Targets};
use docket_aggregates::channel::Channel;
use serde_json::{Value, json};

use super::provider::{Act, Provider};
use super::{CANARY, assert_discreet, channels, limits, outgoing, told};

const TO: &str = "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0U4E";

fn config() -> Value {
    json!({ "accountId": "dfXlh46vQYCsMbVarumWlg" })
}

fn message() -> Value {
    json!({ "kind": "message", "text": "Grüße\r\n--boundary" })
}

#[tokio::test]
async fn a_message_opens_a_chat() {
    let started = json!({ "object": "ChatStarted", "chat_id": "R8J-xM9", "message_id": "ykmhfXl" });
    let provider = Provider::start([Act::answer(201, started)]).await;
    let outgoing = outgoing(Channel::Linkedin, TO, &config(), &message());
    assert_eq!(told(&channels(&provider.base).deliver(&outgoing).await), "accepted ykmhfXl");
    let request = provider.only();
    assert_eq!(request.line, "POST /api/v1/chats HTTP/1.1");
    assert_eq!(request.header("x-api-key"), Some(CANARY));
    assert!(request.header("content-type").unwrap().starts_with("multipart/form-data; boundary="));
    for (name, value) in
        [("account_id", "dfXlh46vQYCsMbVarumWlg"), ("text", "Grüße\r\n--boundary"), ("attendees_ids", TO)]
    {
        let part = format!("name=\"{name}\"\r\n\r\n{value}\r\n--");
        assert!(request.body.contains(&part), "{name} in {}", request.body);
    }
    assert!(!request.body.contains("inmail"));
}

#[tokio::test]
async fn an_invitation_and_an_in_mail_are_told_apart() {
    let invited = json!({ "object": "UserInvitationSent", "invitation_id": "7123" });
    let provider = Provider::start([Act::answer(201, invited)]).await;
    let payload = json!({ "kind": "invitation", "text": "Shall we?" });
    let invitation = outgoing(Channel::Linkedin, TO, &config(), &payload);
    assert_eq!(told(&channels(&provider.base).deliver(&invitation).await), "accepted 7123");
    let request = provider.only();
    assert_eq!(request.line, "POST /api/v1/users/invite HTTP/1.1");
    let expected =
        json!({ "account_id": "dfXlh46vQYCsMbVarumWlg", "provider_id": TO, "message": "Shall we?" });
    assert_eq!(request.json(), expected);

    let nothing_known = json!({ "object": "ChatStarted", "chat_id": null, "message_id": null });
    let provider = Provider::start([Act::answer(201, nothing_known)]).await;
    let config = json!({ "accountId": "dfXl", "inMail": true });
    let payload = json!({ "kind": "message", "text": "Hello", "subject": "A question" });
    let in_mail = outgoing(Channel::Linkedin, TO, &config, &payload);
    assert_eq!(told(&channels(&provider.base).deliver(&in_mail).await), "accepted -");
    let body = provider.only().body;
    assert!(
        body.contains("name=\"linkedin[inmail]\"\r\n\r\ntrue\r\n") && body.contains("A question"),
        "{body}"
    );
}

#[tokio::test]
async fn limits_and_disconnected_accounts_have_their_meaning() {
    for (status, kind, expected) in [
        (401, "errors/disconnected_account", "rejected account"),
        (403, "errors/account_restricted", "rejected account"),
        (401, "errors/wrong_account", "rejected account"),
        (401, "errors/multiple_sessions", "rejected account"),
        (401, "errors/missing_credentials", "rejected credential"),
        (401, "errors/invalid_credentials", "rejected credential"),
        (401, "errors/expired_credentials", "rejected credential"),
        (403, "errors/insufficient_privileges", "rejected credential"),
        (422, "errors/invalid_recipient", "rejected recipient"),
        (422, "errors/no_connection_with_recipient", "rejected recipient"),
        (422, "errors/already_connected", "rejected content"),
        (400, "errors/invalid_parameters", "rejected content"),
        (422, "errors/cannot_resend_yet", "retry rate_limited 86400"),
        (429, "errors/too_many_requests", "retry rate_limited"),
        (500, "errors/limit_exceeded", "retry rate_limited 86400"),
        (503, "errors/service_unavailable", "unknown"),
        (503, "errors/no_client_session", "retry unavailable"),
        (500, "errors/unexpected_error", "unknown"),
        (504, "errors/request_timeout", "unknown"),
        (404, "errors/something_new", "rejected configuration"),
    ] {
        let body =
            json!({ "status": status, "type": kind, "title": "No", "detail": format!("{TO} {CANARY}") });
        let provider = Provider::start([Act::answer(status, body)]).await;
        let message = outgoing(Channel::Linkedin, TO, &config(), &message());
        let outcome = channels(&provider.base).deliver(&message).await;
        assert_eq!(told(&outcome), expected, "{status} {kind}");
        assert_discreet(&outcome, TO);
    }
}

#[tokio::test]
async fn without_its_address_nothing_is_sent() {
    let base: reqwest::Url = "http://127.0.0.1:9".parse().unwrap();
    let endpoints = Endpoints {
        resend: base.clone(),
        cal_com: base.clone(),
        unipile: None,
        whatsapp: base.clone(),
        instagram: base,
    };
    let channels = Channels::open(endpoints, limits(), Targets::default(), &[]).unwrap();
    let message = outgoing(Channel::Linkedin, TO, &config(), &message());
    assert_eq!(told(&channels.deliver(&message).await), "rejected configuration");
}
