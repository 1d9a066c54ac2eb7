//! Every kind of secret, used in whatever succeeds and fails, with providers that repeat it in their refusals; then
//! looked for in every answer, the log, the database, what the command line prints, and the metrics.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::channels::mail_server::{MailServer, Reply, Script, certificate};
use crate::support::app::{held_clock, open, organization, token};
use crate::support::leaks::{Needle, found, tables};
use crate::support::process::{Served, run};
use crate::support::server::{master_key, server_log};
use crate::support::{Client, Database, PATIENCE, eventually};

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

/// How a provider may repeat what it was given.
const WAYS_TO_REPEAT: [(&str, fn(&str) -> String); 6] = [
    ("as it is", str::to_owned),
    ("in Base64", |text| STANDARD.encode(text)),
    ("in Base64 beside a name", |text| STANDARD.encode(format!("ops:{text}"))),
    ("percent-encoded", |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()),
    ("in hexadecimal", |text| hex::encode(text)),
    ("as JSON", |text| json!(text).to_string()),
];

/// A provider of everything, which refuses or takes what it is asked for and repeats the credential in either case.
struct Echo {
    base: String,
    state: Arc<EchoState>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct EchoState {
    takes: AtomicBool,
    way: AtomicUsize,
    repeated: AtomicUsize,
    seen: Mutex<Vec<String>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(EchoState::default());
        let router = axum::Router::new().fallback(repeat).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, state, task }
    }

    fn saw(&self, credential: &str) -> bool {
        self.state.seen.lock().unwrap().iter().any(|seen| seen == credential)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn repeat(State(state): State<Arc<EchoState>>, request: Request) -> Response {
    let header = |headers: &HeaderMap, name: &str| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let bearer = header(request.headers(), "authorization").map(|value| value.replace("Bearer ", ""));
    let credential = bearer.or_else(|| header(request.headers(), "x-api-key")).unwrap_or_default();
    let (_, way) = WAYS_TO_REPEAT[state.way.load(Ordering::SeqCst)];
    let told = format!("the key {} is refused", way(&credential));
    let number = state.repeated.fetch_add(1, Ordering::SeqCst);
    state.seen.lock().unwrap().push(credential);
    let of_graph = request.uri().path().starts_with("/v23.0/");
    if state.takes.load(Ordering::SeqCst) {
        let message = json!({ "role": "assistant", "content": json!({ "issues": [] }).to_string() });
        let taken = json!({
            "id": format!("id-{number}"), "messages": [{ "id": format!("wamid.{number}") }],
            "recipient_id": "1", "message_id": format!("mid-{number}"), "object": "ChatStarted",
            "status": "success", "data": { "id": number, "uid": format!("uid-{number}"), "status": "accepted" },
            "choices": [{ "message": message, "finish_reason": "stop" }], "note": told,
        });
        return (StatusCode::OK, [("x-note", hex::encode(&told))], taken.to_string()).into_response();
    }
    let code = if of_graph { json!(190) } else { json!(told) };
    let refused = json!({
        "statusCode": 401, "status": 401, "name": told, "message": told, "type": told, "title": told, "detail": told,
        "error": { "code": code, "message": told, "type": told, "error_data": { "details": told } },
    });
    (StatusCode::UNAUTHORIZED, [("x-note", hex::encode(&told))], refused.to_string()).into_response()
}

/// Whoever asks, and keeps every answer.
struct Reader {
    client: Client,
    answers: Vec<(String, String)>,
}

impl Reader {
    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Value) {
        let bearer = self.client.bearer();
        let mut headers = headers.to_vec();
        headers.push(("authorization", &bearer));
        let (status, head, bytes) = self.client.exchange(method.clone(), path, &headers, body).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = serde_json::from_str(&text).unwrap_or_default();
        self.answers.push((format!("the answer to {method} {path}"), format!("{head:?} {text}")));
        (status, answer)
    }

    async fn ask(&mut self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let path = self.client.crm(path);
        self.exchange(method, &path, &[JSON, ("prefer", "wait=20")], body.to_string().into_bytes()).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    async fn get(&mut self, path: &str) -> Value {
        let path = self.client.crm(path);
        let (status, answer) = self.exchange(Method::GET, &path, &[], vec![]).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn store(&mut self, secret_id: &str, value: &str) {
        let path = format!("/api/companies/{}/secrets/{secret_id}", self.client.organization);
        let body = json!({ "value": value }).to_string().into_bytes();
        let (status, answer) = self.exchange(Method::PUT, &path, &[JSON], body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn outbox(&mut self, channel: &str, secret_id: &str, config: Value) -> String {
        let body = json!({ "channel": channel, "secretRef": format!("secret://{secret_id}:latest"), "config": config });
        self.post("outboxes", body).await["id"].as_str().unwrap().to_owned()
    }

    /// Sends, and gives status and code once it is known what became of it.
    async fn send(&mut self, channel: &str, outbox: &str, to: &str, payload: &Value) -> (String, String) {
        let body = json!({ "channel": channel, "outboxId": outbox, "to": to, "payload": payload });
        let sent = self.post("send", body).await;
        let path = self.client.crm(&format!("activities/{}", sent["id"].as_str().unwrap()));
        let client = self.client.clone();
        let activity = eventually("the outcome", || async {
            let (_, activity) = client.get(&path).await;
            (activity["dispatchState"] == "done").then_some(activity)
        })
        .await;
        let text = |field: &str| activity[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }
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

/// The stream of events, up to the last one that there is.
async fn streamed(reader: &Reader, address: std::net::SocketAddr, events: usize) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let path = reader.client.crm("events/stream?after=0");
    let bearer = reader.client.bearer();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    let reading = async {
        while received.matches("\ndata: ").count() < events {
            let mut buffer = [0; 16 * 1024];
            let read = socket.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{received}");
            received.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("all events");
    received
}

/// The paths that are got, with every id that there is.
fn paths(document: &Value, ids: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path.ends_with("/stream") {
            continue;
        }
        let mut filled = vec![String::new()];
        for part in path.split('/').skip(1) {
            let choices = match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(parameter) => ids(parameter),
                None => vec![part.to_owned()],
            };
            filled = filled
                .iter()
                .flat_map(|begun| choices.iter().map(move |choice| format!("{begun}/{choice}")))
                .collect();
        }
        all.extend(filled);
    }
    all
}

fn ids(list: &Value) -> Vec<String> {
    let list =
        list.as_array().cloned().unwrap_or_else(|| list["items"].as_array().cloned().unwrap_or_default());
    list.iter()
        .filter_map(|item| item["id"].as_str().or(item["approvalId"].as_str()).map(str::to_owned))
        .collect()
}

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

    // What every provider over HTTP is known by, refused in every way to say it, and then taken.
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
        ("linkedin", UNIPILE.to_owned(), json!({ "accountId": "dfXl" }), "ACoAda", &post),
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

    // Mail servers that refuse the login and repeat it, one that repeats it later, and one that takes the mail; with
    // a key to sign by, and a password that was changed.
    let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    reader.store("dkim", &signing).await;
    let config = json!({
        "fromAddress": "ops@example.com",
        "dkim": { "domain": "example.com", "selector": "s1", "keyRef": "secret://dkim:latest" },
    });
    let plain = STANDARD.encode(format!("\0ops\0{OLD_PASSWORD}"));
    let refused = |told: &str| say(format!("535 5.7.8 the login {told} is refused"));
    let mut servers = Vec::new();
    for (_, way) in WAYS_TO_REPEAT {
        let reply = refused(&way(OLD_PASSWORD));
        servers.push(mail_server(&tls, |script| Script { auth: reply, ..script }).await);
    }
    let reply = refused(&plain);
    servers.push(mail_server(&tls, |script| Script { auth: reply, ..script }).await);
    let reply = say(format!("550 5.7.1 not for {plain} {OLD_PASSWORD}"));
    servers.push(mail_server(&tls, |script| Script { rcpt: reply, ..script }).await);
    let outbox = reader.outbox("email", "smtp", config).await;
    for server in &servers {
        reader.store("smtp", &login(server, OLD_PASSWORD)).await;
        let came_to = reader.send("email", &outbox, "ann@example.org", &mail).await;
        assert_eq!(came_to.0, "failed", "{came_to:?}");
        assert_eq!(server.conversations()[0].login.as_deref(), Some(&*format!("/ops/{OLD_PASSWORD}")));
    }
    let taking = mail_server(&tls, |script| script).await;
    reader.store("smtp", &login(&taking, PASSWORD)).await;
    let came_to = reader.send("email", &outbox, "ann@example.org", &mail).await;
    assert_eq!(came_to.0, "sent", "{came_to:?}");
    assert!(taking.mails()[0].contains("DKIM-Signature"), "{:?}", taking.mails());
    // A credential that cannot be read is not quoted in the refusal either.
    reader.store("smtp", &format!("imap://{OLD_PASSWORD}")).await;
    let came_to = reader.send("email", &outbox, "ann@example.org", &mail).await;
    assert_eq!(came_to, ("failed".into(), Code::Configuration.name().into()));

    // What webhooks are signed with, rightly and wrongly.
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
        let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
        let path = format!(
            "/webhooks/whatsapp/{company}/{hearing}?hub.mode=subscribe&hub.challenge=7&hub.verify_token={token}"
        );
        reader.exchange(Method::GET, &path, &[], vec![]).await;
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
            reader.exchange(Method::POST, &path, &headers, body.clone()).await;
        }
    }
    for key in [UNIPILE_AUTH.to_owned(), format!("{UNIPILE_AUTH}x")] {
        let path = format!("/webhooks/linkedin/{company}/{linked}");
        let headers = [JSON, ("unipile-auth", key.as_str())];
        reader
            .exchange(Method::POST, &path, &headers, json!({ "event": key }).to_string().into_bytes())
            .await;
    }

    // A model that refuses, and one that answers.
    for takes in [false, true] {
        echo.state.takes.store(takes, Ordering::SeqCst);
        let draft = "Bonjour Madame, souhaitez-vous un devis ?";
        let sha256 = hex::encode(Sha256::digest(draft));
        let asked = json!({ "contentSha256": sha256, "draft": draft });
        let (status, answer) = reader.ask(Method::POST, "brand-voice/check", asked).await;
        assert_eq!(status == 200, takes, "{answer}");
    }
    assert!(echo.saw(MODEL_KEY));

    // The secret of an endpoint is told once to whoever makes it, and when it is changed.
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

    // Everything that can be got, by those who may see the most.
    let document = docket::http::openapi::document();
    let events = reader.get("events?limit=1000").await;
    assert!(events.as_array().unwrap().len() > 100, "much happened");
    let activities = ids(&reader.get("activities?limit=100").await);
    assert!(!activities.is_empty());
    let outboxes: Vec<String> =
        senders.iter().map(|(_, outbox, ..)| outbox.clone()).chain([outbox, hearing]).collect();
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
    for answer in [&opened, &changed] {
        let secret = answer["secret"].as_str().unwrap();
        canaries.push(secret.strip_prefix("whsec_").unwrap().to_owned());
    }
    for token in [&board, &auditor] {
        canaries.push(token.splitn(3, '_').nth(2).unwrap().to_owned());
    }
    let needles: Vec<Needle> = canaries.iter().map(|canary| Needle::new(canary)).collect();
    assert_eq!(found(&needles, &places), [""; 0]);
    assert!(!format!("{:?}", Secret::new(PASSWORD.into())).contains("c4n4ry"));
}
