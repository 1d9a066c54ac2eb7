//! Mail that comes in, told apart: what servers and people really send.

use std::time::{Duration, Instant};

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
    let recipient =
        |status: &str| Kind::Bounce { permanent: true, status: Some(status.into()), code: Code::Recipient };
    for (action, status, expected) in [
        ("failed", "5.1.1", recipient("5.1.1")),
        ("Failed", "5.2.1", recipient("5.2.1")),
        ("failed", "5.4.4 (no route)", recipient("5.4.4")),
        ("failed", "5.7.1", bounced("5.7.1")),
        ("failed", "5.0.0", bounced("5.0.0")),
        ("failed", "5.0.0 (told)", recipient("5.1.1")),
        ("failed", "", recipient("5.1.1")),
        (
            "failed",
            "4.4.1",
            Kind::Bounce { permanent: false, status: Some("4.4.1".into()), code: Code::Unavailable },
        ),
        ("delayed", "4.4.1", Kind::Other),
        ("delivered", "2.0.0", Kind::Other),
        ("relayed", "2.0.0", Kind::Other),
    ] {
        let mut report = report(action, status, &original());
        if status == "5.0.0" {
            // Exim, of a server that gives no enhanced codes.
            report = report.replace("550 5.1.1 <ada@example.org>:", "550 <ada@example.org>:");
        }
        let incoming = read("", &at("b.example.com"), report.as_bytes());
        assert_eq!((incoming.kind, incoming.reference), (expected, Some(reference())), "{action} {status}");
        assert_eq!(incoming.message_id.as_deref(), Some("dsn1@mx.example.org"));
    }
}

#[test]
fn a_reply_without_an_id_of_its_own_is_known_by_its_words() {
    let reply = |headers: &str, words: &str| {
        let mail = format!(
            "From: ada@example.org\r\nIn-Reply-To: <{}>\r\n{headers}\r\n{words}\r\n",
            at("b.example")
        );
        read("ada@example.org", "ops@example.com", mail.as_bytes()).message_id.unwrap()
    };
    assert_eq!(reply("Message-ID: <r1@example.org>\r\n", "Yes"), "r1@example.org");
    assert_eq!(reply("", "Yes"), reply("", "Yes"));
    assert_ne!(reply("", "Yes"), reply("", "No"));
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
        "Auto-Submitted: (vacation) auto-replied\r\n",
        "Auto-Submitted: notify\r\n",
        "Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n",
        "X-Precedence: auto_reply\r\n",
        "X-Autogenerated: Reply\r\n",
        "X-AutoReply-From: ada@example.org\r\n",
        "X-Auto-Response-Suppress: All\r\nSubject: Automatic reply: Hi\r\n",
        "Subject: Out of Office: Hi\r\n",
        "Subject: =?utf-8?Q?R=C3=A9ponse_automatique_=3A_Hi?=\r\n",
        "Subject: Abwesenheitsnotiz: Hi\r\n",
        "Subject: Auto: Hi\r\n",
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
    for headers in [
        "",
        "Auto-Submitted: no\r\n",
        "Auto-Submitted: No; a=b\r\n",
        "X-Auto-Response-Suppress: All\r\n",
        "Precedence: list\r\nList-Id: <a.example.org>\r\n",
        "Subject: Re: Out of office furniture\r\n",
        "Subject: Automatically yours\r\n",
    ] {
        let incoming = read("ada@example.org", "ops@example.com", answer(headers).as_bytes());
        let Kind::Reply { text: Some(text), .. } = incoming.kind else {
            panic!("{headers} made it no reply")
        };
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
    let Kind::Reply { text, .. } = read("ada@example.org", "ops@example.com", mail.as_bytes()).kind else {
        panic!("a reply")
    };
    assert_eq!(text.unwrap().trim(), "Schön & gut");
}

#[test]
fn an_absence_that_declares_nothing_is_no_bounce() {
    let absence = b"From: Ada <ada@example.org>\r\nSubject: Away\r\n\r\nI am on holiday.\r\n";
    let incoming = read("", &at("b.example.com"), absence);
    assert_eq!((incoming.kind, incoming.reference), (Kind::AutomaticReply, Some(reference())));
    let exim =
        b"From: Mail Delivery System <system@mx.example.org>\r\nX-Failed-Recipients: ada@example.org\r\n\
        Auto-Submitted: auto-replied\r\nSubject: Mail delivery failed\r\n\r\nNo such user.\r\n";
    let incoming = read("", &at("b.example.com"), exim);
    assert_eq!(incoming.kind, Kind::Bounce { permanent: false, status: None, code: Code::Refused });
}

#[test]
fn blocks_and_quotations_of_html_stay_apart() {
    let html = "<html><head><style>p{}</style></head><body><div>Yes</div><div>please</div><hr><div><b>From:</b> Ops<br>\
        <b>Sent:</b> x</div><blockquote type=cite><div>Hello<blockquote>older</blockquote></div>you</blockquote><!-- \
        <blockquote> --><p>Bye</p></body></html>";
    let mail = format!("In-Reply-To: <{}>\r\nContent-Type: text/html\r\n\r\n{html}", at("example.com"));
    let Kind::Reply { text, .. } = read("ada@example.org", "ops@example.com", mail.as_bytes()).kind else {
        panic!("a reply")
    };
    let lines: Vec<String> =
        text.unwrap().lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    let expected =
        ["Yes", "please", "From: Ops", "Sent: x", "> Hello", "> older", "> you", "Bye"].map(str::to_owned);
    assert_eq!(lines, expected);
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

/// A mail inside a mail inside a mail, in 10 MiB, as strangers may send it. Building, or dropping, one inside the other
/// would need more stack than a thread has, which ends the process and not only the thread.
fn nests() -> Vec<(&'static str, Vec<u8>)> {
    const MAX: usize = 10 * 1024 * 1024;
    let level: &[u8] = b"Content-Type: message/rfc822\r\n\r\n";
    let plain = level.repeat(MAX / level.len());
    let digest: &[u8] = b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\n";
    let multipart: &[u8] = b"Content-Type: multipart/mixed; boundary=d\r\n\r\n--d\r\n";
    let of = |head: &str, body: Vec<u8>| [head.as_bytes(), &body].concat();
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&plain[..MAX / 4 * 3 - 200]).into_bytes()
    };
    vec![
        ("plain", plain.clone()),
        ("other spelling", b"content-type:\r\n\tMESSAGE/Global (x)\r\n\r\n".repeat(MAX / 41)),
        (
            "last one declared",
            b"Content-Type: text/plain\r\nContent-Type: message/rfc822\r\n\r\n".repeat(MAX / 60),
        ),
        (
            "base64",
            of("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n", encoded.clone()),
        ),
        (
            "quoted-printable",
            of(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
                plain.clone(),
            ),
        ),
        ("in a part", of("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", plain.clone())),
        (
            "base64 in a part of a report",
            of(
                "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n",
                encoded,
            ),
        ),
        ("digests", digest.repeat(MAX / digest.len())),
        ("multiparts", multipart.repeat(MAX / multipart.len())),
        ("mails in multiparts", [multipart, level].concat().repeat(MAX / (multipart.len() + level.len()))),
        (
            "parts",
            of("Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b\r\n\r\nx\r\n".repeat(MAX / 10)),
        ),
    ]
}

#[test]
fn a_mail_may_hold_as_many_mails_as_fit_and_is_read_on_a_small_stack() {
    for (what, mail) in nests() {
        // A quarter of what a thread of the server has.
        let reading = std::thread::Builder::new()
            .stack_size(512 * 1024)
            .spawn(move || read("ada@example.org", &at("b.example.com"), &mail));
        let incoming = reading.unwrap().join().unwrap();
        assert_eq!(incoming.reference, Some(reference()), "{what}");
    }
}

/// Heads of which the library would need time that grows with the square of their length.
fn long_heads(length: usize) -> Vec<String> {
    let many = |piece: &dyn Fn(usize) -> String| (0..length / 10).map(piece).collect::<String>();
    let continued = many(&|n| format!("a{n}*1=x;"));
    let languages = many(&|n| format!("a{n}*=u'x'y;"));
    let encoded = many(&|_| "=?aa?q?x".into());
    let comments = many(&|_| "(".into());
    let mut heads: Vec<String> = [continued, languages]
        .into_iter()
        .flat_map(|parameters| {
            ["Content-Type: text/html; ", "Content-Disposition: inline; "]
                .map(|name| format!("{name}{parameters}"))
        })
        .collect();
    for name in [
        "Subject",
        "From",
        "In-Reply-To",
        "References",
        "Message-ID",
        "Content-Type: text/html; x",
        "Received",
    ] {
        heads.extend([&encoded, &comments].map(|value| format!("{name}: {value}")));
    }
    heads
}

#[test]
fn fields_that_are_longer_than_anybody_writes_are_not_read() {
    let recipient = at("b.example.com");
    for head in long_heads(3 * 1024 * 1024) {
        let name = &head[..12];
        let alone = format!("X: y\r\n{head}\r\n\r\nHello\r\n");
        // As many as there may be, each as long as it may be.
        let repeated = format!("X: y\r\n{}\r\nHello\r\n", format!("{}\r\n", &head[..16_000]).repeat(300));
        let part = format!("--b\r\n{}\r\n\r\nHidden\r\n", &head[..8_000]).repeat(300);
        let parts =
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n{part}--b--\r\n");
        let deep = format!(
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{head}\r\n\r\nHidden\r\n--b\r\n\r\nHello\r\n--b--\r\n"
        );
        for mail in [&alone, &repeated, &parts, &deep] {
            let began = Instant::now();
            let incoming = read("ada@example.org", &recipient, mail.as_bytes());
            // Some milliseconds, where it took minutes.
            assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
            let Kind::Reply { text: Some(text), .. } = incoming.kind else { panic!("{name}: {incoming:?}") };
            assert_eq!(text.trim(), "Hello", "{name}");
        }
    }
}

#[test]
fn of_many_parts_the_text_is_the_one_that_a_person_reads() {
    let part = |kind: &str, more: &str, text: &str| format!("Content-Type: {kind}\r\n{more}\r\n{text}\r\n");
    let multi = |kind: &str, boundary: &str, parts: &[String]| {
        let inside: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}")).collect();
        format!(
            "Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\npreamble\r\n{inside}--{boundary}--\r\nepilogue\r\n"
        )
    };
    let html = || part("text/html; charset=utf-8", "", "<p>Rich</p>");
    let plain = || part("text/plain", "", "Plain");
    let footer = || part("text/plain", "", "List footer");
    let attached = || part("text/plain", "Content-Disposition: attachment; filename=a.txt\r\n", "Attached");
    let forwarded = || part("message/rfc822", "", "Subject: Other\r\n\r\nForwarded");
    let encoded =
        part("text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: quoted-printable\r\n", "Caf=E9");
    for (mail, expected) in [
        (multi("alternative", "a", &[plain(), html()]), Some("Plain")),
        (multi("alternative", "a", &[html(), plain()]), Some("Plain")),
        (multi("alternative", "a", &[html()]), Some("Rich")),
        (multi("mixed", "m", &[attached(), multi("alternative", "m-2", &[plain(), html()])]), Some("Plain")),
        (multi("mixed", "m", &[html(), footer()]), Some("Rich")),
        (multi("mixed", "m", &[multi("alternative", "a", &[html()]), footer()]), Some("Rich")),
        (multi("mixed", "m", &[forwarded(), plain()]), Some("Plain")),
        (multi("mixed", "m", &[encoded]), Some("Café")),
        (multi("mixed", "m", &["\r\nNo type\r\n".into()]), Some("No type")),
        (multi("mixed", "m", &[attached(), forwarded()]), None),
        (multi("digest", "m", &["\r\nSubject: A mail\r\n\r\nNot read\r\n".into()]), None),
        // Cut off in the middle.
        (multi("mixed", "m", &[plain()]).replace("\r\n--m--\r\nepilogue\r\n", ""), Some("Plain")),
    ] {
        let incoming = read("ada@example.org", &at("b.example.com"), mail.as_bytes());
        let Kind::Reply { text, .. } = incoming.kind else { panic!("{mail}") };
        assert_eq!(text.as_deref().map(str::trim_end), expected, "{mail}");
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
        assert_eq!(incoming.kind, Kind::Reply { text: Some("Yes.\r\n".into()), stop: false }, "{headers}");
    }
}
