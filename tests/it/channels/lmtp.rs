//! Mail taken in by LMTP: one answer for each recipient, and nothing without a bound.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use docket::channels::email::incoming::{Incoming, Kind};
use docket::channels::email::lmtp::{self, LmtpLimits, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{REFERENCE, reference};
use crate::support::PATIENCE;

struct Lmtp {
    address: std::net::SocketAddr,
    taken: Arc<Mutex<Vec<Incoming>>>,
    ending: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

fn limits() -> LmtpLimits {
    LmtpLimits {
        sessions_max: 2,
        line_bytes_max: 1_100,
        mail_bytes_max: 5_000,
        recipients_max: 2,
        command_within: Duration::from_secs(5),
        mail_within: Duration::from_secs(5),
        record_within: Duration::from_secs(5),
    }
}

async fn start(limits: LmtpLimits, verdict: Verdict) -> Lmtp {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let kept = taken.clone();
    let (ending, ended) = oneshot::channel();
    let take = move |incoming: Incoming| {
        kept.lock().unwrap().push(incoming);
        async move { verdict }
    };
    let serving = tokio::spawn(lmtp::serve(listener, limits, take, async {
        let _ = ended.await;
    }));
    Lmtp { address, taken, ending, serving }
}

/// Says everything at once and gives what came back until the server closed.
async fn talk(lmtp: &Lmtp, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(lmtp.address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    String::from_utf8(heard).unwrap()
}

fn codes(heard: &str) -> Vec<&str> {
    heard.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
}

#[tokio::test]
async fn a_reply_is_taken_for_each_recipient_by_itself() {
    let lmtp = start(limits(), Verdict::Kept).await;
    let mail = format!(
        "LHLO mx.example.com\r\nMAIL FROM:<ada@example.org> SIZE=100\r\nRCPT TO:<{REFERENCE}@b.example.com>\r\n\
         RCPT TO:<other@b.example.com>\r\nDATA\r\nFrom: ada@example.org\r\nTo: ops@example.com\r\nSubject: Re: Hi\r\n\
         In-Reply-To: <{REFERENCE}@example.com>\r\nMessage-ID: <r1@example.org>\r\n\r\nYes!\r\n..hidden\r\n.\r\nQUIT\r\n"
    );
    let heard = talk(&lmtp, mail.as_bytes()).await;
    assert_eq!(codes(&heard), ["220", "250", "250", "250", "250", "354", "250", "250", "221"], "{heard}");
    let taken = lmtp.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 2);
    for incoming in taken {
        assert_eq!(incoming.reference, Some(reference()));
        assert_eq!(incoming.from.as_deref(), Some("ada@example.org"));
        assert_eq!(incoming.message_id.as_deref(), Some("r1@example.org"));
        let Kind::Reply { text: Some(text), .. } = incoming.kind else { panic!("a reply") };
        assert_eq!(text.replace("\r\n", "\n").trim_end(), "Yes!\n.hidden");
    }
}

#[tokio::test]
async fn what_is_not_recorded_is_not_acknowledged() {
    for (verdict, code) in [(Verdict::Kept, "250"), (Verdict::Refused, "550"), (Verdict::Later, "451")] {
        let lmtp = start(limits(), verdict).await;
        let mail =
            b"LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";
        let heard = talk(&lmtp, mail).await;
        assert_eq!(codes(&heard), ["220", "250", "250", "250", "354", code, "221"], "{heard}");
    }
}

#[tokio::test]
async fn commands_have_their_order_and_their_bounds() {
    let lmtp = start(limits(), Verdict::Kept).await;
    let long = format!("NOOP {}", "x".repeat(2_000));
    let commands = [
        ("HELO a", "500"),
        ("MAIL FROM:<a@b>", "503"),
        ("LHLO a", "250"),
        ("RCPT TO:<a@b>", "503"),
        ("MAIL a@b", "501"),
        ("MAIL FROM:<a@b", "501"),
        ("MAIL FROM:<a@b>", "250"),
        ("MAIL FROM:<a@b>", "503"),
        ("DATA", "503"),
        ("RCPT TO:<>", "501"),
        ("RCPT TO:<a b@c>", "501"),
        ("rcpt to: <a@b>", "250"),
        ("RCPT TO:<@relay.example:c@d>", "250"),
        ("RCPT TO:<e@f>", "452"),
        (&long, "500"),
        ("RSET", "250"),
        ("DATA", "503"),
        ("VRFY a", "252"),
        ("BDAT 1 LAST", "500"),
        ("\u{0}\u{1}", "500"),
        ("NOOP", "250"),
        ("QUIT", "221"),
    ];
    let said: String = commands.iter().map(|(command, _)| format!("{command}\r\n")).collect();
    let heard = talk(&lmtp, said.as_bytes()).await;
    let expected: Vec<&str> = std::iter::once("220").chain(commands.iter().map(|(_, code)| *code)).collect();
    assert_eq!(codes(&heard), expected, "{heard}");
    assert!(lmtp.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_read_to_its_end_and_refused() {
    let lmtp = start(limits(), Verdict::Kept).await;
    let start = "LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n";
    for body in ["x\r\n".repeat(3_000), "x".repeat(9_000)] {
        let heard = talk(&lmtp, format!("{start}{body}\r\n.\r\nQUIT\r\n").as_bytes()).await;
        assert_eq!(codes(&heard), ["220", "250", "250", "250", "250", "354", "552", "552", "221"], "{heard}");
    }
    assert!(lmtp.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_a_dot_on_a_line_of_its_own_ends_a_mail() {
    let lmtp = start(limits(), Verdict::Kept).await;
    let long = "x".repeat(2_000);
    for smuggled in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r.\r\n", &format!("{long}\n.\r\n")] {
        let said = format!(
            "LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nfirst{smuggled}\
             MAIL FROM:<eve@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: y\r\n\r\nsecond\r\n.\r\nQUIT\r\n"
        );
        let heard = talk(&lmtp, said.as_bytes()).await;
        assert_eq!(codes(&heard).len(), 7, "{smuggled:?} ended the mail: {heard}");
    }
}

#[tokio::test]
async fn sessions_are_bounded_and_end_with_the_server() {
    let lmtp =
        start(LmtpLimits { command_within: Duration::from_millis(200), ..limits() }, Verdict::Kept).await;
    let heard = talk(&lmtp, b"LHLO a\r\n").await;
    assert_eq!(codes(&heard), ["220", "250", "421"], "whoever says nothing is sent away: {heard}");

    let lmtp = start(limits(), Verdict::Kept).await;
    let mut open = Vec::new();
    for _ in 0..limits().sessions_max {
        let mut stream = TcpStream::connect(lmtp.address).await.unwrap();
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ");
        open.push(stream);
    }
    let heard = talk(&lmtp, b"").await;
    assert_eq!(codes(&heard), ["421"]);
    lmtp.ending.send(()).unwrap();
    tokio::time::timeout(PATIENCE, lmtp.serving).await.unwrap().unwrap();
    let mut rest = Vec::new();
    open[0].read_to_end(&mut rest).await.unwrap();
}
