//! What can go wrong between us and any provider, whatever it is called: the same rows for every channel over HTTP.

use std::time::Duration;

use docket::channels::{Outgoing, Secret};
use docket_aggregates::channel::Channel;
use serde_json::json;
use tokio::net::TcpListener;

use super::provider::{Act, Provider};
use super::{CANARY, assert_discreet, channels, outgoing, told};

/// A message for every channel that speaks HTTP.
fn messages() -> Vec<Outgoing> {
    let mut mail = outgoing(
        Channel::Email,
        "ada@example.org",
        &json!({ "fromAddress": "ops@example.com" }),
        &json!({ "subject": "Hi", "text": "Hello" }),
    );
    mail.credential = Secret::new(format!("resend://{CANARY}"));
    vec![
        mail,
        outgoing(
            Channel::CalCom,
            "ada@example.org",
            &json!({}),
            &json!({ "eventTypeId": 1, "start": "2026-12-01T10:00:00Z", "timeZone": "UTC" }),
        ),
        outgoing(
            Channel::Linkedin,
            "ACoAAAcDMMQ",
            &json!({ "accountId": "dfXl" }),
            &json!({ "kind": "message", "text": "Hello" }),
        ),
        outgoing(
            Channel::Whatsapp,
            "+33612345678",
            &json!({ "phoneNumberId": "1" }),
            &json!({ "text": "Hello" }),
        ),
        outgoing(
            Channel::Instagram,
            "1535148674817116",
            &json!({ "accountId": "1" }),
            &json!({ "text": "Hello" }),
        ),
    ]
}

#[tokio::test]
async fn a_refused_connection_is_tried_again() {
    // A port that nobody listens on any more.
    let base = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for message in messages() {
        let outcome = channels(&base).deliver(&message).await;
        assert_eq!(told(&outcome), "retry unavailable", "{:?}", message.content.channel());
    }
}

#[tokio::test]
async fn a_secret_is_sent_without_what_a_file_leaves_around_it_and_one_that_fits_no_header_is_told() {
    for mut message in messages() {
        let channel = message.content.channel();
        let secret = message.credential.expose().to_owned();
        let provider = Provider::start([Act::answer(401, "")]).await;
        message.credential = Secret::new(format!("{secret}\r\n"));
        channels(&provider.base).deliver(&message).await;
        let given = provider.only().headers;
        assert!(given.iter().any(|(_, value)| value.ends_with(CANARY)), "{channel:?}: {given:?}");

        message.credential = Secret::new(format!("{secret}\n{secret}"));
        let outcome = channels(&provider.base).deliver(&message).await;
        // Of a mail's credential it is the form that is looked at first.
        let expected =
            if channel == Channel::Email { "rejected configuration" } else { "rejected credential" };
        assert_eq!(told(&outcome), expected, "{channel:?}");
        assert_discreet(&outcome, &message.to.address);
    }
}

#[tokio::test]
async fn what_may_have_arrived_without_an_answer_is_unknown() {
    for mut message in messages() {
        let channel = message.content.channel();
        // Cut off after the request, within the answer's head, within its body, and never answered.
        let cut_head = b"HTTP/1.1 200 OK\r\ncontent-le".to_vec();
        let cut_body = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\"".to_vec();
        for act in [Act::Cut, Act::Raw(cut_head), Act::Raw(cut_body), Act::Raw(vec![])] {
            let provider = Provider::start([act]).await;
            let outcome = channels(&provider.base).deliver(&message).await;
            assert_eq!(told(&outcome), "unknown", "{channel:?}");
            assert_eq!(provider.taken().len(), 1, "{channel:?} is called once, whatever comes of it");
        }
        message.within = Duration::from_millis(200);
        let provider = Provider::start([Act::Hang]).await;
        assert_eq!(told(&channels(&provider.base).deliver(&message).await), "unknown", "{channel:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_of_the_providers_is_unknown() {
    for message in messages() {
        let channel = message.content.channel();
        let large = format!("{{\"id\":\"{}\"}}", "x".repeat(20_000));
        let endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let endless = [endless, b"1000\r\n".to_vec(), vec![b'x'; 0x1000], b"\r\n".to_vec()].concat();
        for act in [
            Act::answer(200, "<html>Please log in</html>"),
            Act::answer(200, ""),
            Act::answer(204, ""),
            Act::answer(200, large),
            Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n\xff\xfe\x00\x01\x02\x03\x04\x05\x06".to_vec()),
            Act::Raw(endless),
            Act::Raw(b"220 mail.example.com ESMTP\r\n".to_vec()),
            Act::Raw(vec![0; 100]),
        ] {
            let provider = Provider::start([act]).await;
            let outcome = channels(&provider.base).deliver(&message).await;
            assert_eq!(told(&outcome), "unknown", "{channel:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_in_nobodys_words_is_judged_by_its_status() {
    for message in messages() {
        let channel = message.content.channel();
        for (status, headers, expected) in [
            (400, "", "rejected content"),
            (401, "", "rejected credential"),
            (403, "", "rejected credential"),
            (404, "", "rejected configuration"),
            (413, "", "rejected content"),
            (418, "", "rejected refused"),
            (429, "retry-after: 30\r\n", "retry rate_limited 30"),
            (
                429,
                "date: Sat, 21 Nov 2026 18:00:00 GMT\r\nretry-after: Sat, 21 Nov 2026 18:00:45 GMT\r\n",
                "retry rate_limited 45",
            ),
            (429, "retry-after: 9999999999\r\n", "retry rate_limited 86400"),
            (503, "retry-after: 3\r\n", "unknown"),
        ] {
            let provider = Provider::start([Act::with_headers(status, headers, "<html>no</html>")]).await;
            let outcome = channels(&provider.base).deliver(&message).await;
            assert_eq!(told(&outcome), expected, "{channel:?} {status}");
            assert_discreet(&outcome, &message.to.address);
        }
    }
}

#[tokio::test]
async fn nobody_is_followed_anywhere() {
    let elsewhere = Provider::start([]).await;
    for message in messages() {
        for status in [301, 302, 303, 307, 308] {
            let location = format!("location: {}/stolen\r\n", elsewhere.base);
            let provider = Provider::start([Act::with_headers(status, &location, "")]).await;
            let outcome = channels(&provider.base).deliver(&message).await;
            assert_eq!(told(&outcome), "rejected configuration", "{status}");
        }
    }
    assert!(elsewhere.taken().is_empty(), "a credential never travels to where an answer points");
}
