//! Hands one signed mail to a mail server and prints the outcome: what `tests/mail/handed_over.py` calls, and a way to try a
//! credential by hand.
//!
//! `hand_over_mail CREDENTIAL TO TRUST_FILE DKIM_KEY_FILE`, private targets on loopback allowed.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args as _, Command, FromArgMatches as _};
use docket::channels::{ChannelConfig, Content, LastHeard, Outgoing, Recipient, Reference, Secret};
use docket::clock::Clock;
use docket_aggregates::channel::Channel;
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [credential, to, trust_file, key_file] = arguments.as_slice() else {
        bail!("hand_over_mail CREDENTIAL TO TRUST_FILE DKIM_KEY_FILE");
    };
    let command = ChannelConfig::augment_args(Command::new("hand_over_mail"));
    let matches = command.get_matches_from([
        "hand_over_mail",
        "--allow-private-targets=127.0.0.0/8,::1",
        "--trust-file",
        trust_file,
    ]);
    let channels = ChannelConfig::from_arg_matches(&matches)?.open()?;
    let clock = Clock::system();
    let config = json!({
        "fromAddress": "ops@example.com", "fromName": "Opérations", "returnPathDomain": "bounces.example.com",
        "dkim": { "domain": "example.com", "selector": "s1", "keyRef": "secret://dkim:1" },
    });
    let payload = json!({
        "subject": "Grüße aus dem Büro — a subject that is long enough to be folded at least once, if not twice",
        "text": "Bonjour,\n.\n..\nça va ?\n\n\n", "html": "<p>Bonjour,  ça va ?</p>\n",
    });
    let at = clock.now();
    let read = Content::read(Channel::Email, &config, &payload, at);
    let Ok(Content::Email(mut letter)) = read else { bail!("the sample mail is refused: {read:?}") };
    letter.unsubscribe = Some("https://docket.example.com/u/token".into());
    letter.dkim_key = Some(Secret::new(
        std::fs::read_to_string(key_file).with_context(|| format!("{key_file} cannot be read"))?,
    ));
    let mail = Outgoing {
        reference: Reference { organization: clock.mint(), message: clock.mint() },
        at,
        to: Recipient { address: to.clone(), name: Some("Ada Löwe".into()) },
        content: Content::Email(letter),
        credential: Secret::new(credential.clone()),
        last_heard: LastHeard::NotTracked,
        within: Duration::from_secs(20),
    };
    println!("{:?}", channels.deliver(&mail).await);
    Ok(())
}
