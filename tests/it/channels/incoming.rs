//! Mail that comes in, told apart: what servers and people really send.

use docket::channels::Code;
use docket::channels::email::incoming::{Kind, read};

use super::{REFERENCE, reference};

fn at(domain: &str) -> String {
    format!("{REFERENCE}@{domain}")
}

/// A report of a delivery as Postfix writes it.
fn report(action: &str, status: &str, original: &str) -> String {
    format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.org (Mail Delivery System)\r\nSubject: Undelivered\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nMessage-Id: <dsn1@mx.example.org>\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"B\"\r\n\r\n\
         This is a MIME-encapsulated message.\r\n\r\n--B\r\nContent-Description: Notification\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\nI'm sorry.\r\n\r\n--B\r\n\
         Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.org\r\nX-Postfix-Queue-ID: 4X\r\nArrival-Date: Sat, 21 Nov 2026 18:00:00 +0000\r\n\
         \r\nFinal-Recipient: rfc822; ada@example.org\r\nOriginal-Recipient: rfc822;ada@example.org\r\n\
         Action: {action}\r\nStatus: {status}\r\nRemote-MTA: dns; mail.example.org\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 <ada@example.org>:\r\n    user unknown\r\n\r\n--B\r\n{original}--B--\r\n"
    )
}

fn original() -> String {
    format!(
        "Content-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n\r\nFrom: ops@example.com\r\n\
         To: ada@example.org\r\nMessage-ID: <{}>\r\nSubject: Hi\r\n\r\nHello\r\n",
        at("example.com")
    )
}

#[test]
fn a_bounce_tells_whether_writing_again_is_pointless() {
    let bounced =
        |status: &str| Kind::Bounce { permanent: false, status: Some(status.into()), code: Code::Refused };
    for (action, status, expected) in [
        (
            "failed",
            "5.1.1",
            Kind::Bounce { permanent: true, status: Some("5.1.1".into()), code: Code::Recipient },
        ),
        (
            "Failed",
            "5.2.1",
            Kind::Bounce { permanent: true, status: Some("5.2.1".into()), code: Code::Recipient },
        ),
        (
            "failed",
            "5.4.4 (no route)",
            Kind::Bounce { permanent: true, status: Some("5.4.4".into()), code: Code::Recipient },
        ),
        ("failed", "5.7.1", bounced("5.7.1")),
        ("failed", "5.0.0", bounced("5.0.0")),
        (
            "failed",
            "4.4.1",
            Kind::Bounce { permanent: false, status: Some("4.4.1".into()), code: Code::Unavailable },
        ),
        ("delayed", "4.4.1", Kind::Other),
        ("delivered", "2.0.0", Kind::Other),
        ("relayed", "2.0.0", Kind::Other),
    ] {
        let incoming = read("", &at("b.example.com"), report(action, status, &original()).as_bytes());
        assert_eq!((incoming.kind, incoming.reference), (expected, Some(reference())), "{action} {status}");
        assert_eq!(incoming.message_id.as_deref(), Some("dsn1@mx.example.org"));
    }
}

#[test]
fn a_bounce_is_matched_by_the_mail_that_it_returns() {
    let headers = original().replace("message/rfc822", "text/rfc822-headers");
    for original in [original(), headers] {
        let incoming = read("", "ops@example.com", report("failed", "5.1.1", &original).as_bytes());
        assert_eq!(incoming.reference, Some(reference()), "{original}");
        assert!(matches!(incoming.kind, Kind::Bounce { permanent: true, .. }));
    }
    let stranger = read("", "ops@example.com", report("failed", "5.1.1", "\r\n").as_bytes());
    assert_eq!(stranger.reference, None);
}

#[test]
fn a_complaint_is_one() {
    let complaint = |kind: &str| {
        format!(
            "From: fbl@provider.example\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=feedback-report; boundary=\"B\"\r\n\r\n--B\r\n\
             Content-Type: text/plain\r\n\r\nSpam.\r\n--B\r\nContent-Type: message/feedback-report\r\n\r\n\
             Feedback-Type: {kind}\r\nUser-Agent: X/1\r\nVersion: 1\r\n\r\n--B\r\n{}--B--\r\n",
            original()
        )
    };
    for (kind, expected) in [("abuse", Kind::Complaint), ("not-spam", Kind::Other), ("virus", Kind::Other)] {
        let incoming = read("fbl@provider.example", "fbl@example.com", complaint(kind).as_bytes());
        assert_eq!((incoming.kind, incoming.reference), (expected, Some(reference())), "{kind}");
    }
}

#[test]
fn an_absence_is_no_reply() {
    let answer = |headers: &str| {
        format!(
            "From: Ada <ada@example.org>\r\nTo: ops@example.com\r\nSubject: Re: Hi\r\n\
             In-Reply-To: <{}>\r\nMessage-ID: <v1@example.org>\r\n{headers}\r\nI am away until Monday.\r\n",
            at("example.com")
        )
    };
    for headers in [
        "Auto-Submitted: auto-replied\r\n",
        "Auto-Submitted: auto-generated; owner-email=\"ada@example.org\"\r\n",
        "auto-submitted: Auto-Notified\r\n",
        "X-Autoreply: yes\r\n",
        "X-Autorespond: vacation\r\n",
        "Precedence: auto_reply\r\n",
        "Precedence: bulk\r\n",
    ] {
        for sender in ["ada@example.org", ""] {
            let incoming = read(sender, "ops@example.com", answer(headers).as_bytes());
            assert_eq!(
                (incoming.kind, incoming.reference),
                (Kind::AutomaticReply, Some(reference())),
                "{headers}"
            );
        }
    }
    for headers in ["", "Auto-Submitted: no\r\n", "X-Auto-Response-Suppress: All\r\n"] {
        let incoming = read("ada@example.org", "ops@example.com", answer(headers).as_bytes());
        let Kind::Reply { text: Some(text) } = incoming.kind else { panic!("{headers} made it no reply") };
        assert_eq!(text.trim_end(), "I am away until Monday.");
        assert_eq!(incoming.from.as_deref(), Some("ada@example.org"));
    }
}

#[test]
fn a_reply_is_matched_by_what_it_answers_or_by_where_it_went() {
    let ours = at("example.com");
    for (recipient, headers, matched) in [
        ("ops@example.com".to_owned(), format!("In-Reply-To: <{ours}>\r\n"), true),
        (
            "ops@example.com".into(),
            format!("References: <a@b> <{ours}> <c@d>\r\nIn-Reply-To: <c@d>\r\n"),
            true,
        ),
        ("ops@example.com".into(), format!("References: <{}>\r\n", ours.to_uppercase()), true),
        (at("b.example.com"), String::new(), true),
        ("ops@example.com".into(), "In-Reply-To: <x@example.com>\r\n".into(), false),
        ("ops@example.com".into(), String::new(), false),
    ] {
        let mail = format!("From: ada@example.org\r\nSubject: Re: Hi\r\n{headers}\r\nYes.\r\n");
        let incoming = read("ada@example.org", &recipient, mail.as_bytes());
        assert_eq!(incoming.reference.is_some(), matched, "{recipient} {headers}");
        let answers = !headers.is_empty() || matched;
        assert_eq!(matches!(incoming.kind, Kind::Reply { .. }), answers, "{recipient} {headers}");
    }
}

#[test]
fn a_reply_in_html_is_read_as_text() {
    let mail = format!(
        "From: ada@example.org\r\nIn-Reply-To: <{}>\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=iso-8859-1\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>Sch=F6n &amp; gut</p>\r\n",
        at("example.com")
    );
    let Kind::Reply { text } = read("ada@example.org", "ops@example.com", mail.as_bytes()).kind else {
        panic!("a reply")
    };
    assert_eq!(text.unwrap().trim(), "Schön & gut");
}

#[test]
fn a_server_that_writes_no_reports_bounces_to_the_return_path() {
    let mail = b"From: MAILER-DAEMON@old.example\r\nSubject: failure notice\r\n\r\nHi. This is the qmail-send program.\r\n";
    let incoming = read("", &at("b.example.com"), mail);
    assert_eq!(incoming.kind, Kind::Bounce { permanent: false, status: None, code: Code::Refused });
    assert_eq!(read("", "ops@example.com", mail).kind, Kind::Other);
}

#[test]
fn garbage_is_something_else_and_never_a_panic() {
    let nested: String = (0..300)
        .map(|level| format!("Content-Type: multipart/report; boundary=\"b{level}\"\r\n\r\n--b{level}\r\n"))
        .collect();
    let dsn = report("failed", "5.1.1", &original());
    let mut mails: Vec<Vec<u8>> = vec![
        vec![],
        b"\r\n".to_vec(),
        b".".to_vec(),
        vec![0xff; 10_000],
        vec![b':'; 10_000],
        nested.into_bytes(),
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=B\r\n\r\n--B\r\nContent-Type: message/delivery-status\r\n\r\n".to_vec(),
        b"References: <<<<>>>>,,, @ @ @\r\nIn-Reply-To: =?utf-8?q?<dkt-\r\n\r\n".to_vec(),
    ];
    // A report cut off anywhere, and with any one byte broken.
    for end in (0..dsn.len()).step_by(7) {
        mails.push(dsn.as_bytes()[..end].to_vec());
        let mut broken = dsn.clone().into_bytes();
        broken[end] ^= 0x80;
        mails.push(broken);
    }
    for mail in mails {
        for recipient in ["", "@", "ops@example.com", "dkt-@b", &at("b.example.com")] {
            let _ = read("", recipient, &mail);
            let incoming = read("ada@example.org", recipient, &mail);
            assert!(incoming.reference.is_none_or(|found| found == reference()));
        }
    }
}

#[test]
fn an_id_that_was_encoded_to_fit_a_line_is_read() {
    // As Python's email package writes it.
    let answered = "In-Reply-To: =?utf-8?q?=3Cdkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaa?=\r\n \
        =?utf-8?q?aaaaaac=40bounces=2Eexample=2Ecom=3E?=\r\n";
    let thread = "References: <x@example.org> =?utf-8?q?=3Cdkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaa?=\r\n \
        =?utf-8?q?aaaaaaaaaaaaaaaaaaaaac=40bounces=2Eexample=2Ecom=3E?=\r\n";
    for headers in [answered, thread] {
        let mail = format!("From: ada@example.org\r\nSubject: Re: Hi\r\n{headers}\r\nYes.\r\n");
        let incoming = read("ada@example.org", "ops@example.com", mail.as_bytes());
        assert_eq!(incoming.reference, Some(reference()), "{headers}");
        assert_eq!(incoming.kind, Kind::Reply { text: Some("Yes.".into()) }, "{headers}");
    }
}
