//! Every kind of secret, used in whatever succeeds and fails, with providers that repeat it in their refusals; then
//! looked for in every answer, the log, the database, what the command line prints, and the metrics.

mod echo;
mod reader;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket::channels::Secret;
use docket::channels::outcome::Code;
use docket_aggregates::token::Role;
use hmac::{Hmac, Mac};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::echo::{Echo, WAYS_TO_REPEAT};
use self::reader::{Reader, ids, paths, streamed};
use crate::channels::mail_server::{MailServer, Reply, Script, certificate};
use crate::support::app::{held_clock, open, organization, token};
use crate::support::leaks::{Needle, found, tables};
use crate::support::process::{Served, run};
use crate::support::server::{master_key, server_log};
use crate::support::{Client, Database};

const JSON: (&str, &str) = ("content-type", "application/json");
/// The id of nothing.
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

// Each holds what Base64, addresses, JSON and headers write in another way.
const PASSWORD: &str = "p:/w\\rd \"c4n4rySmtp\" %41";
const OLD_PASSWORD: &str = "p:/w\\rd \"c4n4ryOld\" %42";
const RESEND: &str = "re_c4n4ryResend+\"%43\\";
const CAL_COM: &str = "cal_c4n4ryCal+/\"%44\\";
const UNIPILE: &str = "c4n4ryUnipile+/\"%45\\==";
const WHATSAPP: &str = "EAAc4n4ryWhatsApp+/\"%46\\";
const INSTAGRAM: &str = "IGc4n4ryInstagram+/\"%47\\";
const APP_SECRET: &str = "c4n4ryAppSecret+/\"%48\\";
const VERIFY_TOKEN: &str = "c4n4ryVerify+/\"%49\\ token";
const UNIPILE_AUTH: &str = "c4n4ryUnipileAuth+/\"%4a\\";
const MODEL_KEY: &str = "sk-c4n4ryModel+/\"%4b\\";
const HOOK_QUERY: &str = "c4n4ryHookQuery";

#[tokio::test]
async fn no_secret_is_found_anywhere() {
    let echo = Echo::start().await;
    let (tls, root) = certificate("localhost");
    let database = Database::create().await;
    let trust_file = database.folder().join("trust.pem");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&root));
    std::fs::write(&trust_file, pem).unwrap();
    let app = open(database.options.clone(), held_clock()).await;
    let company = organization(&app).await;
    let (board, auditor) =
        (token(&app, Role::SuperAdmin, None).await, token(&app, Role::Auditor, Some(company)).await);

    let model_url = format!("{}/v1", echo.base);
    let served = Served::start_with(
        &database,
        &[
            ("DOCKET_LOG", "trace"),
            ("DOCKET_RESEND_URL", &echo.base),
            ("DOCKET_CALCOM_URL", &echo.base),
            ("DOCKET_UNIPILE_URL", &echo.base),
            ("DOCKET_WHATSAPP_URL", &echo.base),
            ("DOCKET_INSTAGRAM_URL", &echo.base),
            ("DOCKET_LLM_URL", &model_url),
            ("DOCKET_LLM_MODEL", "m"),
            ("DOCKET_LLM_KEY", MODEL_KEY),
            ("DOCKET_ALLOW_PRIVATE_TARGETS", "127.0.0.0/8,::1"),
            ("DOCKET_TRUST_FILE", trust_file.to_str().unwrap()),
        ],
    )
    .await;
    let client = |token: &str| Client::new(served.address, token.to_owned(), company);
    let mut reader = Reader { client: client(&board), answers: vec![] };

    reader.post("allowlist", json!({ "entry": "*", "acknowledgeAll": true })).await;
    for channel in ["email", "cal-com", "linkedin", "whatsapp", "instagram"] {
        let rule = json!({ "predicate": { "channel": channel }, "action": "auto_approve", "priority": 1 });
        reader.post("approval-rules", rule).await;
    }
    let mut outboxes = send_over_http(&mut reader, &echo).await;
    let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    outboxes.push(send_over_smtp(&mut reader, &tls, &signing).await);
    outboxes.push(hear(&mut reader).await);
    ask_the_model(&mut reader, &echo).await;
    let (endpoint, endpoint_secrets) = post_to_an_endpoint(&mut reader, &echo).await;

    // Everything that can be got, by those who may see the most.
    let document = docket::http::openapi::document();
    let events = reader.get("events?limit=1000").await;
    assert!(events.as_array().unwrap().len() > 100, "much happened");
    let activities = ids(&reader.get("activities?limit=100").await);
    assert!(!activities.is_empty());
    let choices = |parameter: &str| match parameter {
        "companyId" | "organizationId" => vec![company.to_string()],
        "activityId" => activities.clone(),
        "outboxId" => outboxes.clone(),
        "webhookId" => vec![endpoint.clone()],
        "channel" => vec!["whatsapp".to_owned()],
        _ => vec![NOTHING.to_owned()],
    };
    let got = paths(document, &choices);
    assert!(got.len() > 50, "{got:?}");
    for path in &got {
        reader.exchange(Method::GET, path, &[], vec![]).await;
    }
    reader.client = client(&auditor);
    for path in got.iter().filter(|path| !path.contains("/activities/")) {
        reader.exchange(Method::GET, path, &[], vec![]).await;
    }
    let stream = streamed(&reader, served.address, events.as_array().unwrap().len()).await;

    let mut places = reader.answers;
    places.push(("the stream of events".into(), stream));
    let id = company.to_string();
    for arguments in [
        &["replay", "--organization", &id][..],
        &["replay", "--organization", &id, "--reveal"],
        &["verify", "--organization", &id],
        &["replay", "--organization", MODEL_KEY],
    ] {
        let output = run(&database, arguments).await;
        let printed = [output.stdout, output.stderr].concat();
        // What the caller said is theirs.
        let printed = String::from_utf8_lossy(&printed).replace(MODEL_KEY, "");
        places.push((format!("what docket {} prints", arguments[0]), printed));
    }
    let rows = tables(&app, "%").await;
    for table in ["ledger.secrets", "ledger.events", "ledger.access_log"] {
        assert!(rows.iter().any(|(name, rows)| name == table && !rows.is_empty()), "{table} is empty");
    }
    places.extend(rows);
    places.push(("PostgreSQL's log".into(), server_log()));
    let log = served.log();
    assert!(log.contains("\"level\":\"TRACE\""), "the log is captured at every level");
    places.push(("the log".into(), log));
    served.kill().await;

    let pem_body: String = signing.lines().filter(|line| !line.starts_with('-')).collect();
    let mut canaries: Vec<String> = [
        PASSWORD,
        OLD_PASSWORD,
        RESEND,
        CAL_COM,
        UNIPILE,
        WHATSAPP,
        INSTAGRAM,
        APP_SECRET,
        VERIFY_TOKEN,
        UNIPILE_AUTH,
        MODEL_KEY,
        &pem_body,
        &master_key().to_base64(),
        &hex::encode([7; 32]),
    ]
    .map(str::to_owned)
    .to_vec();
    canaries.extend(endpoint_secrets);
    for token in [&board, &auditor] {
        canaries.push(token.splitn(3, '_').nth(2).unwrap().to_owned());
    }
    let needles: Vec<Needle> = canaries.iter().map(|canary| Needle::new(canary)).collect();
    assert_eq!(found(&needles, &places), [""; 0]);
    // The board may read the address of an endpoint; it stands nowhere else.
    places.retain(|(place, _)| {
        place.starts_with("ledger.") || place == "the log" || place == "the stream of events"
    });
    assert_eq!(found(&[Needle::new(HOOK_QUERY)], &places), [""; 0]);
    assert!(!format!("{:?}", Secret::new(PASSWORD.into())).contains("c4n4ry"));
}

/// What every provider over HTTP is known by, refused in every way to say it, and then taken. Gives the outboxes.
async fn send_over_http(reader: &mut Reader, echo: &Echo) -> Vec<String> {
    let template = json!({ "templateSid": "hello_world" });
    let mail = json!({ "subject": "Hello", "text": "A word about your roof." });
    let booking = json!({ "eventTypeId": 1, "start": "2030-12-01T10:00:00Z", "timeZone": "UTC" });
    let text = json!({ "text": "Hello" });
    let post = json!({ "kind": "message", "text": "Hello" });
    let mut senders = Vec::new();
    for (channel, secret, config, to, payload) in [
        (
            "email",
            format!("resend://{RESEND}"),
            json!({ "fromAddress": "ops@example.com" }),
            "ann@example.org",
            &mail,
        ),
        ("cal-com", CAL_COM.to_owned(), json!({}), "ann@example.org", &booking),
        (
            "linkedin",
            UNIPILE.to_owned(),
            json!({ "accountId": "dfXl" }),
            "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0Ada",
            &post,
        ),
        ("whatsapp", WHATSAPP.to_owned(), json!({ "phoneNumberId": "106" }), "+33612345678", &template),
        ("instagram", INSTAGRAM.to_owned(), json!({ "accountId": "17841" }), "17841400000000001", &text),
    ] {
        let secret_id = format!("of-{channel}");
        reader.store(&secret_id, &secret).await;
        senders.push((channel, reader.outbox(channel, &secret_id, config).await, to, payload));
    }
    for (index, (way, _)) in WAYS_TO_REPEAT.iter().enumerate() {
        echo.state.way.store(index, Ordering::SeqCst);
        for (channel, outbox, to, payload) in &senders {
            let came_to = reader.send(channel, outbox, to, payload).await;
            assert_eq!(came_to.0, "failed", "{channel} {way}: {came_to:?}");
        }
    }
    echo.state.takes.store(true, Ordering::SeqCst);
    for (channel, outbox, to, payload) in &senders {
        let came_to = reader.send(channel, outbox, to, payload).await;
        assert_eq!(came_to.0, "sent", "{channel}: {came_to:?}");
    }
    for credential in [RESEND, CAL_COM, UNIPILE, WHATSAPP, INSTAGRAM] {
        assert!(echo.saw(credential), "{credential} was not used");
    }
    senders.into_iter().map(|(_, outbox, ..)| outbox).collect()
}

/// Mail servers that refuse the login and repeat it, one that repeats it later, and one that takes the mail; with a key to
/// sign by, and a password that was changed. Gives the outbox.
async fn send_over_smtp(reader: &mut Reader, tls: &Arc<rustls::ServerConfig>, signing: &str) -> String {
    let mail = json!({ "subject": "Hello", "text": "A word about your roof." });
    reader.store("dkim", signing).await;
    let config = json!({
        "fromAddress": "ops@example.com",
        "dkim": { "domain": "example.com", "selector": "s1", "keyRef": "secret://dkim:latest" },
    });
    let plain = STANDARD.encode(format!("\0ops\0{OLD_PASSWORD}"));
    let refused = |told: &str| say(format!("535 5.7.8 the login {told} is refused"));
    let mut servers = Vec::new();
    for (_, way) in WAYS_TO_REPEAT {
        let reply = refused(&way(OLD_PASSWORD));
        servers.push(mail_server(tls, |script| Script { auth: reply, ..script }).await);
    }
    let reply = refused(&plain);
    servers.push(mail_server(tls, |script| Script { auth: reply, ..script }).await);
    let reply = say(format!("550 5.7.1 not for {plain} {OLD_PASSWORD}"));
    servers.push(mail_server(tls, |script| Script { rcpt: reply, ..script }).await);
    let outbox = reader.outbox("email", "smtp", config).await;
    for server in &servers {
        reader.store("smtp", &login(server, OLD_PASSWORD)).await;
        let came_to = reader.send("email", &outbox, "ann@example.org", &mail).await;
        assert_eq!(came_to.0, "failed", "{came_to:?}");
        assert_eq!(server.conversations()[0].login.as_deref(), Some(&*format!("/ops/{OLD_PASSWORD}")));
    }
    let taking = mail_server(tls, |script| script).await;
    reader.store("smtp", &login(&taking, PASSWORD)).await;
    let came_to = reader.send("email", &outbox, "ann@example.org", &mail).await;
    assert_eq!(came_to.0, "sent", "{came_to:?}");
    assert!(taking.mails()[0].contains("DKIM-Signature"), "{:?}", taking.mails());
    // A credential that cannot be read is not quoted in the refusal either.
    reader.store("smtp", &format!("imap://{OLD_PASSWORD}")).await;
    let came_to = reader.send("email", &outbox, "ann@example.org", &mail).await;
    assert_eq!(came_to, ("failed".into(), Code::Configuration.name().into()));
    outbox
}

/// What webhooks are signed with, rightly and wrongly. Gives the outbox that listens.
async fn hear(reader: &mut Reader) -> String {
    let company = reader.client.organization;
    for (secret_id, value) in [("app", APP_SECRET), ("verify", VERIFY_TOKEN), ("unipile", UNIPILE_AUTH)] {
        reader.store(secret_id, value).await;
    }
    let config = json!({
        "phoneNumberId": "106", "webhookSecretRef": "secret://app:latest",
        "webhookVerifyTokenRef": "secret://verify:latest",
    });
    let hearing = reader.outbox("whatsapp", "of-whatsapp", config).await;
    let config = json!({ "accountId": "dfXl", "webhookSecretRef": "secret://unipile:latest" });
    let linked = reader.outbox("linkedin", "of-linkedin", config).await;
    for token in [VERIFY_TOKEN, &VERIFY_TOKEN[1..]] {
        let given = utf8_percent_encode(token, NON_ALPHANUMERIC);
        let path = format!(
            "/webhooks/whatsapp/{company}/{hearing}?hub.mode=subscribe&hub.challenge=7&hub.verify_token={given}"
        );
        let (status, _) = reader.exchange(Method::GET, &path, &[], vec![]).await;
        assert_eq!(status == 200, token == VERIFY_TOKEN, "{status}");
    }
    for body in
        [json!({ "object": "whatsapp_business_account", "entry": [] }), json!({ "object": APP_SECRET })]
    {
        let body = body.to_string().into_bytes();
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(APP_SECRET.as_bytes()).unwrap();
        mac.update(&body);
        let right = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        for signature in [&right, APP_SECRET, &hex::encode(APP_SECRET)] {
            let path = format!("/webhooks/whatsapp/{company}/{hearing}");
            let headers = [JSON, ("x-hub-signature-256", signature)];
            let (status, _) = reader.exchange(Method::POST, &path, &headers, body.clone()).await;
            assert_eq!(status != 401, signature == right, "{status}");
        }
    }
    for key in [UNIPILE_AUTH.to_owned(), format!("{UNIPILE_AUTH}x")] {
        let path = format!("/webhooks/linkedin/{company}/{linked}");
        let headers = [JSON, ("unipile-auth", key.as_str())];
        let body = json!({ "event": key }).to_string().into_bytes();
        let (status, _) = reader.exchange(Method::POST, &path, &headers, body).await;
        assert_eq!(status != 401, key == UNIPILE_AUTH, "{status}");
    }
    hearing
}

/// A model that refuses, and one that answers.
async fn ask_the_model(reader: &mut Reader, echo: &Echo) {
    for takes in [false, true] {
        echo.state.takes.store(takes, Ordering::SeqCst);
        let draft = "Bonjour Madame, souhaitez-vous un devis ?";
        let sha256 = hex::encode(Sha256::digest(draft));
        let asked = json!({ "contentSha256": sha256, "draft": draft });
        let (status, answer) = reader.ask(Method::POST, "brand-voice/check", asked).await;
        assert_eq!(status == 200, takes, "{answer}");
    }
    assert!(echo.saw(MODEL_KEY));
}

/// The secret of an endpoint is told once to whoever makes it, and when it is changed. Gives its id and both.
async fn post_to_an_endpoint(reader: &mut Reader, echo: &Echo) -> (String, [String; 2]) {
    let url = format!("{}/hook?key={HOOK_QUERY}", echo.base);
    let opened = reader.post("webhooks", json!({ "url": url, "eventTypes": [] })).await;
    let endpoint = opened["id"].as_str().unwrap().to_owned();
    reader.answers.pop();
    let changed = reader.post(&format!("webhooks/{endpoint}/rotate-secret"), json!({})).await;
    reader.answers.pop();
    for takes in [false, true] {
        echo.state.takes.store(takes, Ordering::SeqCst);
        reader.ask(Method::POST, &format!("webhooks/{endpoint}/test"), json!({})).await;
    }
    let secret =
        |answer: &Value| answer["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap().to_owned();
    (endpoint, [secret(&opened), secret(&changed)])
}

/// A mail server that asks for a password, and what it does then.
async fn mail_server(tls: &Arc<rustls::ServerConfig>, change: impl FnOnce(Script) -> Script) -> MailServer {
    let script =
        Script { tls: Some(tls.clone()), implicit: true, offers: &["AUTH PLAIN"], ..Script::default() };
    MailServer::start(change(script)).await
}

fn login(server: &MailServer, password: &str) -> String {
    let password = utf8_percent_encode(password, NON_ALPHANUMERIC);
    format!("smtps://ops:{password}@localhost:{}", server.address.port())
}

fn say(text: String) -> Reply {
    Reply::Say(Box::leak(text.into_boxed_str()))
}
