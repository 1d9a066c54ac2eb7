//! STOP by mail, as the usual clients send it with what they quote and add.

use docket_aggregates::message::Delivery;

use super::fixtures::mail;
use super::mail::{Lmtp, outbox};
use super::{Got, Story, sent};

/// The reply of a client: a name, the type of its text, the text, and whether it says nothing but STOP.
const REPLIES: [(&str, &str, &str, bool); 21] = [
    ("alone", "text/plain", "STOP\n", true),
    (
        "Gmail",
        "text/plain",
        "STOP\n\nOn Sun, Nov 22, 2026 at 8:00 AM Ops <ops@example.com> wrote:\n\n> Hello\n> Reply STOP to end this\n",
        true,
    ),
    (
        "Gmail, wrapped",
        "text/plain",
        "STOP\n\nOn Sun, Nov 22, 2026 at 8:00 AM Traboule Prospection <prospection@traboule.example>\nwrote:\n\n> Hello\n",
        true,
    ),
    (
        "Gmail, wrapped in the address",
        "text/plain",
        "Stop\n\nOn Sun, Nov 22, 2026 at 8:00 AM Operations of the Northern Office <\noperations@example.com> wrote:\n\n> Hello\n",
        true,
    ),
    (
        "Gmail in French",
        "text/plain; charset=utf-8",
        "STOP\n\nLe dim. 22 nov. 2026 à 08:00, Traboule Prospection <prospection@traboule.example> a\nécrit :\n\n> Bonjour\n",
        true,
    ),
    (
        "Gmail, HTML only",
        "text/html",
        "<div dir=\"ltr\">STOP</div><br><div class=\"gmail_quote\"><div dir=\"ltr\" class=\"gmail_attr\">On Sun, Nov 22, 2026 at 8:00 AM Ops &lt;<a href=\"mailto:ops@example.com\">ops@example.com</a>&gt; wrote:<br></div><blockquote class=\"gmail_quote\">Hello</blockquote></div>",
        true,
    ),
    (
        "Outlook, text",
        "text/plain",
        "STOP\n\nFrom: Ops <ops@example.com>\nSent: Sunday, November 22, 2026 8:00 AM\nTo: Ann <ann@example.org>\nSubject: Hello\n\nHello\n",
        true,
    ),
    (
        "Outlook in German",
        "text/plain; charset=utf-8",
        "Stopp\n\nVon: Ops <ops@example.com>\nGesendet: Sonntag, 22. November 2026 08:00\nAn: Ann\nBetreff: Hallo\n\nHallo\n",
        true,
    ),
    (
        "Outlook, HTML",
        "text/html",
        "<html><body><div>STOP</div><div id=\"appendonsend\"></div><hr><div id=\"divRplyFwdMsg\"><b>From:</b> Ops &lt;ops@example.com&gt;<br><b>Sent:</b> Sunday<br></div><p>Hello</p></body></html>",
        true,
    ),
    (
        "Outlook for iOS",
        "text/plain",
        "STOP\n\nGet Outlook for iOS<https://aka.ms/o0ukef>\n________________________________\nFrom: Ops <ops@example.com>\n",
        true,
    ),
    (
        "iPhone",
        "text/plain; charset=utf-8",
        "Stop\n\nSent from my iPhone\n\n> On Nov 22, 2026, at 8:00 AM, Ops <ops@example.com> wrote:\n> \n> \u{feff}Hello\n",
        true,
    ),
    (
        "iPhone in French",
        "text/plain; charset=utf-8",
        "Stop\n\nEnvoyé de mon iPhone\n\n> Le 22 nov. 2026 à 08:00, Ops <ops@example.com> a écrit :\n",
        true,
    ),
    (
        "Thunderbird, below the quotation",
        "text/plain; charset=utf-8",
        "Le 22/11/2026 à 08:00, Ops a écrit\u{a0}:\n> Bonjour\n\nSTOP\n",
        true,
    ),
    ("UTF-16 without its label", "text/plain", "S\0T\0O\0P\0\n", true),
    ("with a signature", "text/plain", "Stop.\n\n-- \nAnn Lee\n", true),
    ("do not stop", "text/plain", "Please do not stop\n\n> Hello\n", false),
    ("in a sentence", "text/plain", "Let us stop by on Monday.\n", false),
    ("within a longer reply", "text/plain", "STOP\n\nNo, wait. Call me on Monday.\n", false),
    ("only quoted", "text/plain", "Yes please\n\n> STOP\n", false),
    (
        "quoted without marks",
        "text/plain",
        "Yes please\n\nOn Sun, Nov 22, 2026 at 8:00 AM Ops <ops@example.com> wrote:\n\nSTOP\n",
        false,
    ),
    ("quoted in HTML", "text/html", "<div>Yes</div><blockquote>STOP</blockquote>", false),
];

#[tokio::test]
async fn who_says_stop_for_somebody_else_is_left_alone_as_well() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let everybody = ["ann@example.org", "boss@example.org", "carl@example.org"];
    let (campaign, contacts) = story.campaign(&everybody).await;
    let told = |written: &str, from: &str, head: &str, said: &str| {
        let (from, head, said) = (from.to_owned(), head.to_owned(), said.to_owned());
        let written = written.to_owned();
        let (story, lmtp) = (&story, &lmtp);
        async move {
            let message = story.message(outbox, &written, None, None, Got::Sent).await;
            let mail = mail(
                &format!("From: {from}\nIn-Reply-To: <{{reference}}@example.com>\n{head}\n{said}\n"),
                &story.reference(message).to_string(),
            );
            assert_eq!(lmtp.take("x@example.org", &["ops@example.com"], &mail).await, ["250"], "{from}");
            let mut listed = story.suppressed().await;
            listed.sort();
            listed
        }
    };
    let listed = |addresses: &[&str]| -> Vec<(String, String)> {
        addresses.iter().map(|address| ((*address).to_owned(), "unsubscribe".to_owned())).collect()
    };
    // Another word of somebody else, and what a machine says, are nobody's wish.
    assert_eq!(told("ann@example.org", "boss@example.org", "", "Let us stop by.").await, []);
    assert_eq!(
        told("ann@example.org", "boss@example.org", "Auto-Submitted: auto-replied\n", "STOP").await,
        []
    );
    // Without a message of ours that it answers, a name in a mail is nobody's word.
    let stray = mail("From: boss@example.org\nIn-Reply-To: <a@example.com>\n\nSTOP\n", "");
    assert_eq!(lmtp.take("x@example.org", &["ops@example.com"], &stray).await, ["250"]);
    assert_eq!(story.suppressed().await, []);

    let both = listed(&["ann@example.org", "boss@example.org"]);
    assert_eq!(told("ann@example.org", "The Boss <boss@Example.org>", "", "STOP").await, both);
    for (contact, alone) in contacts.iter().zip([true, true, false]) {
        assert_eq!(story.stands(&campaign, *contact).await.1, alone);
    }
    // What was written to with a tag is answered from the mailbox; and a sender who cannot be read is none.
    let all = listed(&["ann@example.org", "boss@example.org", "carl+news@example.org", "carl@example.org"]);
    assert_eq!(told("carl+news@example.org", "carl@example.org", "", "STOP").await, all);
    let before = listed(&[
        "ann@example.org",
        "boss@example.org",
        "carl+news@example.org",
        "carl@example.org",
        "dan@example.org",
    ]);
    assert_eq!(told("dan@example.org", "nobody at all", "", "STOP").await, before);
}

#[tokio::test]
async fn stop_is_heard_below_a_long_quotation() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let message = story.message(outbox, "ann@example.org", None, None, Got::Sent).await;
    let quoted = "> A line of what was written to her before, and of what she answered.\n".repeat(3_000);
    let head = format!("From: ann@example.org\nIn-Reply-To: <{{reference}}@example.com>\n\n{quoted}\nSTOP\n");
    let mail = mail(&head, &story.reference(message).to_string());
    assert_eq!(lmtp.take("ann@example.org", &["ops@example.com"], &mail).await, ["250"]);
    let listed = story.suppressed().await.into_iter().any(|(listed, _)| listed == "ann@example.org");
    assert!(listed);
}

#[tokio::test]
async fn stop_is_heard_however_a_client_quotes() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    for (number, (client, kind, text, stop)) in REPLIES.into_iter().enumerate() {
        let address = format!("ann{number}@example.org");
        let message = story.message(outbox, &address, None, None, Got::Sent).await;
        let head = format!(
            "From: {address}\nIn-Reply-To: <{{reference}}@example.com>\nMIME-Version: 1.0\nContent-Type: {kind}\n\
             Content-Transfer-Encoding: 8bit\n\n{text}"
        );
        let mail = mail(&head, &story.reference(message).to_string());
        assert_eq!(lmtp.take(&address, &["ops@example.com"], &mail).await, ["250"], "{client}");
        assert_eq!(story.standing(message).await, sent(Delivery::Replied), "{client}");
        let listed = story.suppressed().await.into_iter().any(|(listed, _)| listed == address);
        assert_eq!(listed, stop, "{client}");
    }
}
