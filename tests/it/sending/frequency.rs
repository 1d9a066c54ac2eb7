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

    /// An outbox for WhatsApp, whose messages go out by themselves.
    pub(super) async fn whatsapp(&self) -> String {
        let rule = json!({ "predicate": { "channel": "whatsapp" }, "action": "auto_approve", "priority": 1 });
        assert_eq!(post(&self.board, "approval-rules", rule).await.0, 201);
        let outbox = json!({
            "channel": "whatsapp", "niche": null, "secretRef": "secret://smtp:latest",
            "config": { "phoneNumberId": "1" },
        });
        let (status, outbox) = post(&self.board, "outboxes", outbox).await;
        assert_eq!(status, 201, "{outbox}");
        text(&outbox["id"])
    }

    /// A contact with this address and this number.
    pub(super) async fn contact(&self, email: &str, phone: &str) {
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

pub(super) fn template(outbox: &str, to: &str) -> Value {
    json!({
        "channel": "whatsapp", "outboxId": outbox, "to": to,
        "payload": { "templateSid": "welcome", "variables": [] },
    })
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
async fn a_tag_of_a_contacts_mailbox_earns_no_message_more_on_another_channel() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com", "+33612345678", "+33612345679"]).await;
    company.approve_by_itself().await;
    let outbox = company.whatsapp().await;
    company.contact("ann@example.com", "+33612345678").await;
    company.contact("bob+crm@example.com", "+33612345679").await;
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.cap(2).await;
    for (mails, phone) in [
        (["ann+0@example.com", "ann+1@example.com"], "+33612345678"),
        (["bob@example.com", "bob+2@example.com"], "+33612345679"),
    ] {
        for to in mails {
            let activity = company.send(company.mail(to)).await;
            assert!(activity["contactId"].is_string(), "{activity}");
            assert_eq!(company.over(&activity).await, sent(), "{to}");
        }
        let last = company.send(template(&outbox, phone)).await;
        assert_eq!(company.over(&last).await, enough(), "{phone}");
    }
    // And who is left alone is left alone at every tag.
    let body = json!({ "address": "+33612345678", "reason": "unsubscribe" });
    assert_eq!(post(&company.board, "suppressions", body).await.0, 201);
    let refused = company.send(company.mail("ann+3@example.com")).await;
    assert_eq!(refused["status"], json!("blocked_by_allowlist"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_gets_no_more_on_another_channel() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com", "+33612345678"]).await;
    company.approve_by_itself().await;
    let outbox = company.whatsapp().await;
    company.contact("ann@example.com", "+33612345678").await;
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.cap(1).await;
    assert_eq!(company.got("ann@example.com").await, sent());
    let second = company.send(template(&outbox, "+33612345678")).await;
    assert!(second["contactId"].is_string(), "{second}");
    let path = format!("activities/{}/explain", text(&second["id"]));
    assert_eq!(company.over(&second).await, enough());
    let (_, told) = get(&company.board, &path).await;
    assert_eq!(told["now"]["reason"], json!("frequency_cap"), "{told}");
}
