use std::sync::Mutex;

use docket_aggregates::channel::Channel;
use docket_aggregates::ids::OrganizationId;
use serde_json::json;

use super::*;
use crate::channels::email::incoming::{Incoming, Kind};
use crate::channels::{Code, Content, LastHeard, Outcome, Outgoing, Recipient, Reference};

/// Takes what is handed in, as the product does.
async fn mail_in() -> (SocketAddr, Arc<Mutex<Vec<Incoming>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = taken.clone();
    let take = move |incoming| {
        kept.lock().unwrap().push(incoming);
        std::future::ready(Verdict::Kept)
    };
    tokio::spawn(lmtp::serve(listener, LmtpLimits::default(), take, std::future::pending()));
    (address, taken)
}

async fn send(mailbox: &Mailbox, to: &[&str], text: &str) -> String {
    let mut stream = TcpStream::connect(mailbox.server).await.unwrap();
    let mut said = "EHLO a\r\nMAIL FROM:<ops@example.com>\r\n".to_owned();
    to.iter().for_each(|to| said += &format!("RCPT TO:<{to}>\r\n"));
    said += &format!(
        "DATA\r\nFrom: ops@example.com\r\nSubject: {text}\r\n\
         Message-ID: <dkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaaaaaaaac@example.com>\r\n\r\n{text}\r\n.\r\nQUIT\r\n"
    );
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let reading = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut heard);
    tokio::time::timeout(WAIT_MAX, reading).await.unwrap().unwrap();
    heard
}

#[tokio::test]
async fn what_arrives_is_kept_and_the_oldest_makes_room() {
    let mailbox = Mailbox::open(mail_in().await.0).await.unwrap();
    assert!(mailbox.letters().list(None).is_empty());
    let heard = send(&mailbox, &["ann@example.org", "bob@example.org"], "Hello").await;
    assert_eq!(heard.matches("250 2.1.5 taken").count(), 1, "SMTP has one answer for a mail: {heard}");
    let found = mailbox.letters().wait(Some("ANN@example.org"), WAIT_MAX).await;
    assert_eq!((found.len(), found[0].seen.subject.as_str()), (1, "Hello"));
    for number in 0..KEPT_MAX {
        let handed = Handed {
            sender: String::new(),
            recipient: format!("{number}@example.org"),
            mail: Arc::new(b"Subject: a\r\n\r\n".to_vec()),
            content: Arc::default(),
        };
        mailbox.letters().take(handed);
    }
    let kept = mailbox.letters().list(None);
    assert_eq!((kept.len(), kept[0].number), (KEPT_MAX, KEPT_MAX as u64 + 2));
    assert!(mailbox.letters().get(1).is_none());
}

#[tokio::test]
async fn an_answer_is_handed_to_the_product() {
    let (address, taken) = mail_in().await;
    let mailbox = Mailbox::open(address).await.unwrap();
    send(&mailbox, &["ann@example.org"], "Hello").await;
    mailbox.letters().answer(1, "Yes.\n.\nCall me.").await.unwrap();
    let taken = taken.lock().unwrap().clone();
    assert!(taken[0].reference.is_some());
    assert!(matches!(&taken[0].kind, Kind::Reply { text: Some(text), .. } if text.contains("Call me.")));
    for (number, text, expected) in
        [(2, "Yes.", "there is no such mail in the mailbox"), (1, " ", "an answer has 1 to 16384 bytes")]
    {
        assert_eq!(mailbox.letters().answer(number, text).await.unwrap_err().to_string(), expected);
    }
}

/// A mail with this credential.
fn outgoing(credential: Secret) -> Outgoing {
    let at = "2026-11-21T18:00:00Z".parse().unwrap();
    let config = json!({ "fromAddress": "ops@example.com" });
    let payload = json!({ "subject": "Hello", "text": "Hello" });
    Outgoing {
        reference: Reference { organization: OrganizationId::INSTANCE, message: uuid::Uuid::nil() },
        at,
        to: Recipient { address: "ann@example.org".into(), name: None },
        content: Content::read(Channel::Email, &config, &payload, at).unwrap(),
        credential,
        last_heard: LastHeard::NotTracked,
        within: WAIT_MAX,
    }
}

#[tokio::test]
async fn nothing_but_the_mailbox_is_reached_through_its_channels() {
    let mail_in = mail_in().await.0;
    let mailbox = Mailbox::open(mail_in).await.unwrap();
    let channels = mailbox.channels().unwrap();
    for elsewhere in [
        "smtp://1.1.1.1:25?tls=none".to_owned(),
        "smtps://user:password@192.0.2.1".to_owned(),
        "smtp://10.0.0.1".to_owned(),
        "smtp://[2606:4700::1111]:25".to_owned(),
        format!("smtp://{mail_in}?tls=none"),
        format!("smtp://127.0.0.2:{}?tls=none", mailbox.server.port()),
        "smtp://localhost:25?tls=none".to_owned(),
    ] {
        let outcome = channels.deliver(&outgoing(Secret::new(elsewhere.clone()))).await;
        assert!(matches!(outcome, Outcome::Rejected { code: Code::Target, .. }), "{elsewhere}: {outcome:?}");
    }
    let resend = channels.deliver(&outgoing(Secret::new("resend://re_1".into()))).await;
    assert!(matches!(resend, Outcome::Rejected { .. }), "{resend:?}");
    assert!(mailbox.letters().list(None).is_empty());

    let outcome = channels.deliver(&outgoing(mailbox.credential())).await;
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    assert_eq!(mailbox.letters().list(None).len(), 1);
}
