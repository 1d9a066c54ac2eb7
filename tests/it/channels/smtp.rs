//! E-mail by SMTP: every refusal, every way to vanish, STARTTLS, logging in, and shared connections.

use std::time::Duration;

use docket::channels::{Channels, Content, Endpoints, Outcome, Outgoing, Secret, Targets};
use docket_aggregates::channel::Channel;
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::mail_server::{Conversation, MailServer, Reply, Script, certificate};
use super::{CANARY, REFERENCE, assert_discreet, channels, limits, outgoing, told, trusting};
use crate::support::eventually;

const TO: &str = "ada.lovelace@example.org";
const NOWHERE: &str = "http://127.0.0.1:9";
const ACCEPTED: &str = "accepted <dkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaaaaaaaac@example.com>";

fn mail(credential: &str) -> Outgoing {
    let config = json!({ "fromAddress": "ops@example.com", "returnPathDomain": "b.example.com" });
    let payload = json!({ "subject": "Hi", "text": "Hello\n.\n..\nBye" });
    let mut mail = outgoing(Channel::Email, TO, &config, &payload);
    mail.credential = Secret::new(credential.into());
    mail
}

fn plain(server: &MailServer) -> String {
    format!("smtp://{}?tls=none", server.address)
}

/// The outcome of one mail to a server with this script.
async fn outcome(script: Script) -> (Outcome, MailServer) {
    let server = MailServer::start(script).await;
    let outcome = channels(NOWHERE).deliver(&mail(&plain(&server))).await;
    assert_discreet(&outcome, TO);
    assert_discreet(&outcome, "ada.lovelace");
    (outcome, server)
}

#[tokio::test]
async fn a_mail_is_handed_over_with_a_return_path_of_its_own() {
    let (outcome, server) = outcome(Script::default()).await;
    assert_eq!(told(&outcome), ACCEPTED);
    let conversation = server.conversations().remove(0);
    assert_eq!(
        conversation.commands,
        [
            "EHLO example.com".to_owned(),
            format!("MAIL FROM:<{REFERENCE}@b.example.com>"),
            format!("RCPT TO:<{TO}>"),
            "DATA".into(),
        ]
    );
    let mail = &conversation.mails[0];
    assert!(mail.contains(&format!("Message-ID: <{REFERENCE}@example.com>\r\n")), "{mail}");
    assert!(mail.ends_with("\r\n\r\nHello\r\n.\r\n..\r\nBye\r\n"), "dots survive: {mail:?}");
}

#[tokio::test]
async fn a_subject_that_looks_encoded_arrives_as_it_was_approved() {
    let server = MailServer::start(Script::default()).await;
    let mut mail = mail(&plain(&server));
    let Content::Email(letter) = &mut mail.content else { unreachable!() };
    let seen = "=?utf-8?b?QnV5IHBpbGxzIG5vdw==?=";
    letter.payload.subject = seen.into();
    assert_eq!(told(&channels(NOWHERE).deliver(&mail).await), ACCEPTED);
    let mails = server.mails();
    let read = mail_parser::MessageParser::default().parse(mails[0].as_bytes()).unwrap();
    assert_eq!(read.subject(), Some(seen), "{}", mails[0]);
}

#[tokio::test]
async fn every_refusal_has_its_meaning() {
    let say = |place: &str, text: &'static str| {
        let reply = Reply::Say(text);
        match place {
            "greeting" => Script { greeting: reply, ..Script::default() },
            "mail" => Script { mail: reply, ..Script::default() },
            "rcpt" => Script { rcpt: reply, ..Script::default() },
            "data" => Script { data: reply, ..Script::default() },
            _ => Script { text: reply, ..Script::default() },
        }
    };
    for (place, text, expected) in [
        ("greeting", "421 4.3.2 too busy", "retry unavailable"),
        ("greeting", "554 5.7.1 you are on a list", "rejected refused"),
        ("mail", "451 4.3.0 later", "retry unavailable"),
        ("mail", "452 4.2.2 full", "retry rate_limited"),
        ("mail", "550 5.1.8 bad sender", "rejected configuration"),
        ("mail", "550 not from you", "rejected configuration"),
        ("mail", "530 5.7.0 log in first", "rejected credential"),
        ("mail", "552 5.3.4 too big", "rejected content"),
        ("rcpt", "450 4.7.1 greylisted", "retry rate_limited"),
        ("rcpt", "450 4.2.0 busy", "retry rate_limited"),
        ("rcpt", "451 4.4.3 later", "retry unavailable"),
        ("rcpt", "421 4.7.0 too many mails", "retry rate_limited"),
        ("rcpt", "550 5.1.1 <ada.lovelace@example.org>: no such user ada.lovelace", "rejected recipient"),
        ("rcpt", "550-5.1.1 no such user\r\n550 5.1.1 ask ada.lovelace@example.org", "rejected recipient"),
        ("rcpt", "550 no such user", "rejected recipient"),
        ("rcpt", "551 moved away", "rejected recipient"),
        ("rcpt", "553 5.1.3 bad address", "rejected recipient"),
        ("rcpt", "550 5.2.1 mailbox disabled", "rejected recipient"),
        ("rcpt", "552 5.2.2 mailbox full", "rejected content"),
        ("rcpt", "550 5.7.1 relaying denied", "rejected refused"),
        ("rcpt", "554 5.7.1 blocked", "rejected refused"),
        ("data", "451 4.3.0 later", "retry unavailable"),
        ("data", "554 5.5.1 no", "rejected refused"),
        ("text", "451 4.7.1 later", "retry rate_limited"),
        ("text", "452 4.3.1 disk full", "retry rate_limited"),
        ("text", "550 5.7.26 not signed", "rejected configuration"),
        ("text", "552 5.3.4 too big", "rejected content"),
        ("text", "554 5.6.0 bad mail", "rejected content"),
        ("text", "554 5.7.1 spam", "rejected refused"),
        // What does not belong to the command.
        ("mail", "354 go on", "retry unavailable"),
        ("rcpt", "354 go on", "retry unavailable"),
        ("data", "250 ok", "retry unavailable"),
        ("data", "334 VXNlcm5hbWU6", "retry unavailable"),
        ("text", "354 again", "unknown"),
        // What is no SMTP.
        ("greeting", "HTTP/1.1 400 Bad Request", "retry unavailable"),
        ("rcpt", "whatever", "retry unavailable"),
        ("text", "whatever", "unknown"),
    ] {
        let (outcome, _server) = outcome(say(place, text)).await;
        assert_eq!(told(&outcome), expected, "{place}: {text}");
    }
}

#[tokio::test]
async fn before_the_final_dot_it_is_tried_again_and_after_it_nobody_knows() {
    for vanish in [Reply::Close, Reply::Hang] {
        let default = Script::default;
        for (script, expected) in [
            (Script { greeting: vanish.clone(), ..default() }, "retry unavailable"),
            (Script { mail: vanish.clone(), ..default() }, "retry unavailable"),
            (Script { rcpt: vanish.clone(), ..default() }, "retry unavailable"),
            (Script { data: vanish.clone(), ..default() }, "retry unavailable"),
            (Script { text: vanish.clone(), ..default() }, "unknown"),
        ] {
            let server = MailServer::start(script).await;
            let mut mail = mail(&plain(&server));
            mail.within = Duration::from_secs(2);
            let outcome = channels(NOWHERE).deliver(&mail).await;
            assert_eq!(told(&outcome), expected, "{vanish:?}: {:?}", server.conversations());
        }
    }
}

#[tokio::test]
async fn a_mail_that_was_cut_off_in_the_middle_is_tried_again() {
    let server = MailServer::start(Script { cut_text_after: Some(1_000), ..Script::default() }).await;
    let mut mail = mail(&plain(&server));
    let Content::Email(letter) = &mut mail.content else { unreachable!() };
    // More than the buffers between both sides hold.
    letter.payload.text = Some("All work and no play makes Jack a dull boy.\n".repeat(200_000));
    let outcome = channels(NOWHERE).deliver(&mail).await;
    assert_eq!(told(&outcome), "retry unavailable");
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn the_messages_own_time_is_kept_wherever_it_runs_out() {
    for (script, expected) in [
        (Script { greeting: Reply::Hang, ..Script::default() }, "retry unavailable"),
        (Script { text: Reply::Hang, ..Script::default() }, "unknown"),
    ] {
        let server = MailServer::start(script).await;
        let mut mail = mail(&plain(&server));
        mail.within = Duration::from_millis(150);
        assert_eq!(told(&channels(NOWHERE).deliver(&mail).await), expected);
    }
}

#[tokio::test]
async fn mail_goes_out_by_starttls_and_by_tls_with_a_login() {
    let (tls, root) = certificate("localhost");
    for implicit in [false, true] {
        let offers: &[&str] =
            if implicit { &["AUTH PLAIN LOGIN"] } else { &["STARTTLS", "AUTH PLAIN LOGIN"] };
        let script = Script { offers, tls: Some(tls.clone()), implicit, ..Script::default() };
        let server = MailServer::start(script).await;
        let scheme = if implicit { "smtps" } else { "smtp" };
        let port = server.address.port();
        let mail = mail(&format!("{scheme}://ops%40example.com:{CANARY}@localhost:{port}"));
        let outcome = trusting(NOWHERE, std::slice::from_ref(&root)).deliver(&mail).await;
        assert_eq!(told(&outcome), ACCEPTED, "{scheme}");
        let conversation = server.conversations().remove(0);
        assert!(conversation.secure);
        assert_eq!(conversation.login.as_deref(), Some(format!("/ops@example.com/{CANARY}").as_str()));
        let before_tls: Vec<&String> =
            conversation.commands.iter().take_while(|command| *command != "STARTTLS").collect();
        assert!(implicit || before_tls == ["EHLO example.com"], "nothing but a greeting goes in the open");
    }
}

#[tokio::test]
async fn no_password_leaves_without_a_trusted_connection() {
    let (tls, root) = certificate("localhost");
    let (_, other_root) = certificate("localhost");
    let (other_name, other_name_root) = certificate("mail.example.com");
    let login = |server: &MailServer| mail(&format!("smtp://u:{CANARY}@localhost:{}", server.address.port()));
    let with = |tls, offers| Script { tls: Some(tls), offers, ..Script::default() };
    let rows: [(Script, Vec<CertificateDer<'static>>, &str); 5] = [
        (with(tls.clone(), &["AUTH PLAIN"]), vec![root.clone()], "rejected configuration"),
        (with(tls.clone(), &["STARTTLS", "AUTH PLAIN"]), vec![], "retry unavailable"),
        (with(tls.clone(), &["STARTTLS", "AUTH PLAIN"]), vec![other_root], "retry unavailable"),
        (with(other_name, &["STARTTLS", "AUTH PLAIN"]), vec![other_name_root], "retry unavailable"),
        (with(tls.clone(), &["STARTTLS", "AUTH GSSAPI"]), vec![root.clone()], "rejected configuration"),
    ];
    for (script, roots, expected) in rows {
        let server = MailServer::start(script).await;
        let outcome = trusting(NOWHERE, &roots).deliver(&login(&server)).await;
        assert_eq!(told(&outcome), expected);
        assert!(server.conversations().iter().all(|conversation| conversation.login.is_none()));
        assert!(server.mails().is_empty());
    }
    for (auth, expected) in [
        (Reply::Say("535 5.7.8 wrong password canary-credential-7f3a"), "rejected credential"),
        (Reply::Say("454 4.7.0 later"), "retry rate_limited"),
        (Reply::Close, "retry unavailable"),
        (Reply::Hang, "retry unavailable"),
    ] {
        let script = Script { auth, ..with(tls.clone(), &["STARTTLS", "AUTH PLAIN"]) };
        let server = MailServer::start(script).await;
        let outcome = trusting(NOWHERE, std::slice::from_ref(&root)).deliver(&login(&server)).await;
        assert_eq!(told(&outcome), expected);
        assert_discreet(&outcome, TO);
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_server_whose_tls_is_not_trusted() {
    let (tls, root) = certificate("localhost");
    let (_, other_root) = certificate("localhost");
    let (other_name, other_name_root) = certificate("mail.example.com");
    let (of_an_address, of_an_address_root) = certificate("127.0.0.1");
    let trusted = vec![root];
    let accepted = ACCEPTED;
    let insecure = "retry unavailable";
    let rows = [
        (Some(&tls), "localhost", &trusted, accepted),
        (Some(&of_an_address), "127.0.0.1", &vec![of_an_address_root], accepted),
        (Some(&tls), "127.0.0.1", &trusted, insecure),
        (Some(&tls), "localhost", &vec![], insecure),
        (Some(&tls), "localhost", &vec![other_root], insecure),
        (Some(&other_name), "localhost", &vec![other_name_root], insecure),
        // Whoever speaks no TLS at all.
        (None, "localhost", &trusted, insecure),
    ];
    for (row, (tls, host, roots, expected)) in rows.into_iter().enumerate() {
        let script = Script {
            offers: &["AUTH PLAIN"],
            implicit: tls.is_some(),
            tls: tls.cloned(),
            ..Script::default()
        };
        let server = MailServer::start(script).await;
        let mail = mail(&format!("smtps://u:{CANARY}@{host}:{}", server.address.port()));
        let outcome = trusting(NOWHERE, roots).deliver(&mail).await;
        assert_eq!(told(&outcome), expected, "row {row}");
        assert_discreet(&outcome, TO);
        let heard = server.conversations();
        let heard =
            heard.iter().any(|conversation| conversation.login.is_some() || !conversation.mails.is_empty());
        assert_eq!(heard, expected == accepted, "row {row}");
        if let Outcome::Retry { reason, .. } = outcome {
            assert_eq!(reason, "no secure connection to the mail server came about", "row {row}");
        }
    }
}

#[tokio::test]
async fn mails_share_a_connection_that_is_encrypted_from_its_first_byte() {
    let (tls, root) = certificate("localhost");
    let script = Script { tls: Some(tls), implicit: true, ..Script::default() };
    let server = MailServer::start(script).await;
    let channels = trusting(NOWHERE, &[root]);
    // Longer than a record of TLS, and than what is written at once.
    let payload = json!({ "subject": "Hi", "text": "All work and no play. ".repeat(8_000) });
    let mut mail = outgoing(Channel::Email, TO, &json!({ "fromAddress": "ops@example.com" }), &payload);
    mail.credential = Secret::new(format!("smtps://localhost:{}", server.address.port()));
    for _ in 0..3 {
        let outcome = channels.deliver(&mail).await;
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
    let [Conversation { mails, secure: true, .. }] = &server.conversations()[..] else {
        panic!("one connection")
    };
    assert_eq!(mails.len(), 3);
    assert!(mails.iter().all(|mail| mail.len() > 170_000 && *mail == mails[0]));
}

#[tokio::test]
async fn mails_share_connections_up_to_a_bound() {
    let server = MailServer::start(Script::default()).await;
    let channels = channels(NOWHERE);
    let mail = mail(&plain(&server));
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (channels, mail) = (channels.clone(), mail.clone());
        sending.spawn(async move { told(&channels.deliver(&mail).await) });
    }
    for outcome in sending.join_all().await {
        assert_eq!(outcome, ACCEPTED);
    }
    assert_eq!(server.mails().len(), 20);
    assert!(server.conversations().len() <= limits().connections_max, "{}", server.conversations().len());
}

#[tokio::test]
async fn a_refused_mail_does_not_cost_the_connection() {
    let script = Script { rcpt: Reply::Say("550 5.1.1 no"), ..Script::default() };
    let server = MailServer::start(script).await;
    let channels = channels(NOWHERE);
    for _ in 0..3 {
        assert_eq!(told(&channels.deliver(&mail(&plain(&server))).await), "rejected recipient");
    }
    let [Conversation { commands, .. }] = &server.conversations()[..] else { panic!("one connection") };
    assert_eq!(commands.iter().filter(|command| *command == "RSET").count(), 3);
}

#[tokio::test]
async fn no_answer_is_taken_for_that_to_another_mail() {
    // A line too many after each mail: without a look at the code, each answer would be taken for that to what comes next.
    let script = Script { text: Reply::Say("250 2.0.0 queued\r\n250 2.0.0 extra"), ..Script::default() };
    let server = MailServer::start(script).await;
    let channels = channels(NOWHERE);
    for (expected, mails) in [(ACCEPTED, 1), ("retry unavailable", 1), (ACCEPTED, 2)] {
        let outcome = channels.deliver(&mail(&plain(&server))).await;
        assert_eq!((told(&outcome).as_str(), server.mails().len()), (expected, mails), "{outcome:?}");
    }
    assert_eq!(server.conversations().len(), 2);
}

#[tokio::test]
async fn a_connection_that_is_out_of_step_is_not_kept() {
    // The answer to RCPT is read as that to DATA, and that to DATA as the one to RSET.
    let script = Script {
        mail: Reply::Say("250 2.1.0 ok\r\n250 2.1.0 extra"),
        rcpt: Reply::Say("550 5.1.1 no"),
        data: Reply::Say("350 5.5.1 no recipient"),
        ..Script::default()
    };
    let server = MailServer::start(script).await;
    let channels = channels(NOWHERE);
    for connections in 1..=2 {
        assert_eq!(told(&channels.deliver(&mail(&plain(&server))).await), "rejected recipient");
        assert_eq!(server.conversations().len(), connections);
    }
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let server = MailServer::start(Script { close_after: 1, ..Script::default() }).await;
    let channels = channels(NOWHERE);
    for expected in 1..=3 {
        assert_eq!(told(&channels.deliver(&mail(&plain(&server))).await), ACCEPTED);
        eventually("the mail", || async { (server.mails().len() == expected).then_some(()) }).await;
    }
    assert_eq!(server.conversations().len(), 3);
}

#[tokio::test]
async fn a_private_mail_server_is_not_connected_to_unless_it_is_allowed() {
    let server = MailServer::start(Script::default()).await;
    let base: reqwest::Url = NOWHERE.parse().unwrap();
    let endpoints = Endpoints {
        resend: base.clone(),
        cal_com: base.clone(),
        unipile: None,
        whatsapp: base.clone(),
        instagram: base,
    };
    let channels = Channels::open(endpoints, limits(), Targets::default(), &[]).unwrap();
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let outcome = channels.deliver(&mail(&format!("smtp://{host}:{port}?tls=none"))).await;
        assert_eq!(told(&outcome), "rejected target", "{host}");
    }
    let outcome = channels.deliver(&mail("smtp://no-such-host.invalid")).await;
    assert_eq!(told(&outcome), "retry unavailable");
    assert!(server.conversations().is_empty());
}

#[tokio::test]
async fn a_credential_that_is_none_is_a_matter_of_configuration() {
    for credential in [CANARY, "https://example.com", "smtp://u:p@example.com?tls=none"] {
        let outcome = channels(NOWHERE).deliver(&mail(credential)).await;
        assert_eq!(told(&outcome), "rejected configuration");
        assert_discreet(&outcome, TO);
    }
}
