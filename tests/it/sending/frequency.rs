//! How much one recipient gets: a contact, and an address, whatever the channel and the tag.

use hyper::Method;
use serde_json::{Value, json};

use super::{Company, ask, came_to, get, post, text};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::eventually;

impl Company {
    async fn cap(&self, messages: u32) {
        let cap = json!({ "messages": messages, "days": 7 });
        assert_eq!(ask(&self.board, Method::PUT, "frequency-cap", cap).await.0, 200);
    }

    /// What becomes of a mail to this address.
    async fn got(&self, to: &str) -> (String, Option<String>) {
        let sent = self.send(self.mail(to)).await;
        self.over(&sent).await
    }

    async fn over(&self, activity: &Value) -> (String, Option<String>) {
        let path = format!("activities/{}", text(&activity["id"]));
        eventually("what becomes of a message", async || {
            let (_, shown) = get(&self.board, &path).await;
            let (status, reason) = came_to(&shown);
            (shown["dispatchState"] == "done").then(|| (status.to_owned(), reason.map(str::to_owned)))
        })
        .await
    }

    /// A contact with this address and this number.
    async fn contact(&self, email: &str, phone: &str) {
        let file = format!("First name,Last name,Email,Phone\nAnn,Lee,{email},{phone}\n");
        let headers = [("content-type", "text/csv")];
        let path = self.board.crm("imports?name=Fair");
        let (status, folder) =
            self.board.send(Method::POST, &path, &headers, file.into_bytes()).await.unwrap();
        assert_eq!(status, 201, "{folder}");
        let path = self.board.crm(&format!("imports/{}/commit", text(&folder["importFolderId"])));
        let headers = [("content-type", "application/json"), ("prefer", "wait=60")];
        let (status, answer) = self.board.send(Method::POST, &path, &headers, b"{}".to_vec()).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

fn sent() -> (String, Option<String>) {
    ("sent".into(), None)
}

fn enough() -> (String, Option<String>) {
    ("blocked_by_quota".into(), Some("frequency_cap".into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_earns_no_message_more_and_what_came_before_the_cap_counts() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    company.approve_by_itself().await;
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    assert_eq!(company.got("ann@example.com").await, sent());
    assert_eq!(company.got("bob+news@example.com").await, sent());
    company.cap(2).await;
    for (to, expected) in [
        ("ann+news@example.com", sent()),
        ("ann+offers@example.com", enough()),
        ("Ann <ANN@example.com>", enough()),
        ("bob@example.com", sent()),
        ("bob@example.com", enough()),
        ("cleo@example.com", sent()),
    ] {
        assert_eq!(company.got(to).await, expected, "{to}");
    }
    assert_eq!(server.mails().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_gets_no_more_on_another_channel() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com", "+33612345678"]).await;
    company.approve_by_itself().await;
    let rule = json!({ "predicate": { "channel": "whatsapp" }, "action": "auto_approve", "priority": 1 });
    assert_eq!(post(&company.board, "approval-rules", rule).await.0, 201);
    let outbox = json!({
        "channel": "whatsapp", "niche": null, "secretRef": "secret://smtp:latest",
        "config": { "phoneNumberId": "1" },
    });
    let (status, outbox) = post(&company.board, "outboxes", outbox).await;
    assert_eq!(status, 201, "{outbox}");
    company.contact("ann@example.com", "+33612345678").await;
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.cap(1).await;
    assert_eq!(company.got("ann@example.com").await, sent());
    let message = json!({
        "channel": "whatsapp", "outboxId": outbox["id"], "to": "+33612345678",
        "payload": { "templateSid": "welcome", "variables": [] },
    });
    let second = company.send(message).await;
    assert!(second["contactId"].is_string(), "{second}");
    let path = format!("activities/{}/explain", text(&second["id"]));
    assert_eq!(company.over(&second).await, enough());
    let (_, told) = get(&company.board, &path).await;
    assert_eq!(told["now"]["reason"], json!("frequency_cap"), "{told}");
}
