//! Auto-qualify against a server that really listens: what it is sent, what becomes of its answer, and of its failures.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use docket::app::App;
use docket::flights::FlightKey;
use docket::flights::across::Turn;
use docket::http::Settings;
use docket::language_model::{LanguageModel, LanguageModelConfig};
use docket_aggregates::ids::PrincipalId;
use docket_aggregates::token::Role;
use futures::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{Client, TestApp};

/// Words of a branch that is not chosen.
const CANARY: &str = "canary-of-the-other-branch";

/// What a model server does with a question.
#[derive(Clone)]
enum Plan {
    /// Answers with these bytes.
    Bytes(Vec<u8>),
    /// Waits until it is told, and then answers with these bytes.
    Held(Arc<Notify>, Vec<u8>),
    /// Answers with these bytes and keeps the connection.
    Trickle(Vec<u8>),
    /// Hangs up.
    HangUp,
}

/// A server that speaks HTTP/1.1 on loopback, and keeps every request.
struct Model {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    asked: Arc<Notify>,
    plan: Arc<Mutex<Plan>>,
    serving: JoinHandle<()>,
}

impl Model {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let asked = Arc::new(Notify::new());
        let plan = Arc::new(Mutex::new(Plan::HangUp));
        let kept = (requests.clone(), asked.clone(), plan.clone());
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (requests, asked, plan) = kept.clone();
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    requests.lock().unwrap().push(request);
                    asked.notify_one();
                    let plan = plan.lock().unwrap().clone();
                    match plan {
                        Plan::Bytes(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
                        Plan::Held(until, bytes) => {
                            until.notified().await;
                            stream.write_all(&bytes).await.unwrap_or_default();
                        }
                        Plan::Trickle(bytes) => {
                            stream.write_all(&bytes).await.unwrap_or_default();
                            std::future::pending::<()>().await;
                        }
                        Plan::HangUp => (),
                    }
                });
            }
        });
        Self { address, requests, asked, plan, serving }
    }

    fn client(&self) -> LanguageModel {
        let config = LanguageModelConfig {
            llm_url: Some(format!("http://{}/v1", self.address)),
            llm_model: Some("qualifier-1".into()),
            llm_key: Some("key-of-the-model".into()),
        };
        LanguageModel::open(&config).unwrap().unwrap()
    }

    fn will(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    /// From now on it answers with this completion.
    fn says(&self, content: &Value) {
        self.will(Plan::Bytes(completion(&content.to_string())));
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One whole request: its head, and as many bytes as that says.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn completion(content: &str) -> Vec<u8> {
    let message = json!({ "role": "assistant", "content": content });
    http("200 OK", &json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string())
}

fn answer(answers: Value, verdict: &str) -> Value {
    json!({ "answers": answers, "verdict": verdict, "summary": "Owns the house and heats with oil." })
}

/// An organization with a conversation that chose one of two branches.
struct Story {
    app: TestApp,
    board: Client,
    agent: Client,
    campaign: String,
    contact: String,
    execution: String,
    template: String,
}

impl Story {
    async fn begin(model: Option<LanguageModel>) -> Self {
        let app = TestApp::start_with(model).await;
        let agent = app.agent().await;
        let board = app.client(Role::Board, agent.organization).await;
        let file = "Name,Email,Phone\nCamille Martin,camille@example.com,0612345678\n".to_owned();
        let headers = [("content-type", "text/csv")];
        let path = agent.crm("imports?name=Fair");
        let (_, folder) = agent.send(hyper::Method::POST, &path, &headers, file.into_bytes()).await.unwrap();
        let commit = agent.crm(&format!("imports/{}/commit", text(&folder["importFolderId"])));
        assert_eq!(agent.post(&commit, json!({})).await.0, 200);

        let branch = |label: &str, id: &str, words: &str| json!({ "label": label, "steps": [{ "id": id, "type": "question", "text": words }] });
        let script = json!({
            "name": "Heating",
            "steps": [
                { "id": "hello", "type": "instruction", "text": "Bonjour {{firstName}}" },
                {
                    "id": "owner", "type": "yesno", "text": "Êtes-vous propriétaire ?",
                    "branches": [
                        branch("Oui", "fuel", "Quelle énergie ?"),
                        branch("Non", "landlord", &format!("Qui est le propriétaire ? {CANARY}")),
                    ],
                },
            ],
        });
        let script = agent.done("create_script_template", script).await["template"]["templateId"].clone();
        let form = json!({
            "name": "Heat pump",
            "fields": [
                { "key": "owner", "label": "Owner?", "type": "boolean", "required": true, "mapsFromScriptNodeId": "owner" },
                { "key": "fuel", "label": "Fuel", "type": "select", "options": ["oil", "gas"], "mapsFromScriptNodeId": "fuel" },
                { "key": "landlord", "label": "Landlord", "type": "text", "mapsFromScriptNodeId": "landlord" },
                { "key": "area", "label": "Area", "type": "number", "max": 900 },
            ],
        });
        let template =
            text(&agent.done("create_qualification_template", form).await["template"]["templateId"]);
        let campaign = json!({
            "name": "Spring", "status": "active", "scriptTemplateId": script, "qualificationTemplateId": template,
        });
        let campaign =
            text(&agent.done("create_outbound_campaign", campaign).await["campaign"]["campaignId"]);
        let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 5 });
        agent.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        let listed = agent.done("list_outbound_contacts", json!({ "campaignId": campaign })).await;
        let contact = text(&listed["contacts"][0]["contactId"]);
        // What was answered before the caller went back and chose otherwise stays in the history.
        for responses in [
            json!([{ "nodeId": "owner", "value": "Non" }, { "nodeId": "landlord", "value": CANARY }]),
            json!([{ "nodeId": "owner", "value": "Oui" }, { "nodeId": "fuel", "value": "au fioul" }]),
        ] {
            let input = json!({ "campaignId": campaign, "contactId": contact, "responses": responses });
            agent.done("upsert_script_execution", input).await;
        }
        let pair = json!({ "campaignId": campaign, "contactId": contact });
        let execution = agent.done("get_script_execution", pair).await["execution"]["executionId"].clone();
        Self { app, board, agent, campaign, contact, execution: text(&execution), template }
    }

    fn path(&self) -> String {
        self.board.crm(&format!("script-executions/{}/auto-qualify", self.execution))
    }

    async fn qualify(&self, body: Value) -> (u16, Value) {
        self.board.post(&self.path(), body).await
    }

    /// The same as a request of that name.
    async fn qualify_under(&self, key: &str) -> Result<(u16, Value), String> {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.board.send(hyper::Method::POST, &self.path(), &headers, b"{}".to_vec()).await
    }

    async fn refused(&self, status: u16, code: &str) {
        let before = self.events().await;
        let (told, body) = self.qualify(json!({})).await;
        assert_eq!((told, body["code"].as_str().unwrap_or_default()), (status, code), "{body}");
        assert_eq!(self.events().await, before, "what failed records nothing");
        assert!(!body.to_string().contains(CANARY));
    }

    async fn events(&self) -> i64 {
        let pool = self.app.database.pool();
        sqlx::query_scalar("SELECT count(*) FROM ledger.events").fetch_one(&pool).await.unwrap()
    }

    /// A person judges the contact not to be one to win; the id of the record.
    async fn decided_by_a_person(&self, names_it: bool) -> Value {
        let mut input = json!({
            "campaignId": self.campaign, "contactId": self.contact,
            "answers": { "owner": false }, "status": "not_qualified",
        });
        if names_it {
            input["scriptExecutionId"] = json!(self.execution);
        }
        self.agent.done("create_qualification", input).await["qualification"]["qualificationId"].clone()
    }

    /// A person begins a record; its id.
    async fn drafted_by_a_person(&self) -> Value {
        let input = json!({ "campaignId": self.campaign, "contactId": self.contact, "answers": {} });
        self.agent.done("create_qualification", input).await["qualification"]["qualificationId"].clone()
    }

    async fn patch(&self, id: &Value, patch: Value) {
        self.agent.done("update_qualification", json!({ "qualificationId": id, "patch": patch })).await;
    }

    /// A caller calls the contact and logs how it went.
    async fn called(&self, outcome: &str) {
        let profile = json!({ "name": "Ada", "email": format!("{outcome}@example.com") });
        let (_, agent) = self.agent.post(&self.agent.crm("agents"), profile).await;
        let call = json!({
            "campaignId": self.campaign, "contactId": self.contact, "agentId": agent["agentId"],
            "outcome": outcome, "startedAt": "2026-11-21T10:00:00Z",
        });
        let (status, logged) = self.agent.post(&self.agent.crm("calls"), call).await;
        assert_eq!(status, 201, "{logged}");
    }

    /// Takes the contact out of the campaign and puts it in again.
    async fn put_in_again(&self) {
        let remove = json!({ "campaignId": self.campaign, "contactIds": [self.contact], "confirm": true });
        self.agent.done("bulk_remove_contacts_from_campaign", remove).await;
        let add = json!({ "campaignId": self.campaign, "filter": { "source": "crm" }, "maxContacts": 5 });
        self.agent.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    }

    /// Ends the conversation and begins another one; its id.
    async fn talked_to_again(&self) -> String {
        for (status, answered) in [("completed", "gaz"), ("in_progress", "fioul")] {
            let responses =
                json!([{ "nodeId": "owner", "value": "Oui" }, { "nodeId": "fuel", "value": answered }]);
            let input = json!({
                "campaignId": self.campaign, "contactId": self.contact, "responses": responses, "status": status,
            });
            self.agent.done("upsert_script_execution", input).await;
        }
        let pair = json!({ "campaignId": self.campaign, "contactId": self.contact });
        text(&self.agent.done("get_script_execution", pair).await["execution"]["executionId"])
    }

    /// Checks where the contact stands in the campaign, which has no other.
    async fn stands_as(&self, status: &str) {
        let counts = json!({ "campaignIds": [self.campaign] });
        let counts = self.agent.done("bulk_get_campaign_contact_counts", counts).await;
        assert_eq!(counts["counts"][0]["byStatus"][status], json!(1), "{counts}");
    }

    async fn latest(&self) -> Value {
        let pair = json!({
            "campaignId": self.campaign, "contactId": self.contact, "responseFormat": "detailed",
        });
        self.agent.done("get_qualification", pair).await["qualification"].clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[tokio::test]
async fn without_a_model_the_payload_is_shown_and_nothing_is_made_up() {
    let story = Story::begin(None).await;
    let before = story.events().await;
    let (status, told) = story.qualify(json!({})).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        (&told["sent"], &told["model"], &told["qualification"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert_eq!(told["templateId"], json!(story.template));
    let steps = &told["payload"]["conversation"]["steps"];
    let ids: Vec<String> = steps.as_array().unwrap().iter().map(|step| text(&step["id"])).collect();
    assert_eq!(ids, ["hello", "owner", "fuel"]);
    assert_eq!(steps[2]["answer"], json!("au fioul"));
    assert_eq!(told["payload"]["form"]["answersFrom"], json!({ "owner": "owner", "fuel": "fuel" }));
    let words = told.to_string();
    for secret in [CANARY, "Camille", "camille@example.com", "612345678"] {
        assert!(!words.contains(secret), "{secret} is in the payload");
    }
    assert!(told["payloadBytes"].as_u64().unwrap() <= 32 << 10);
    assert_eq!(story.events().await, before);
}

#[tokio::test]
async fn what_the_model_says_is_recorded_with_its_provenance() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true, "fuel": "oil", "landlord": null, "area": null }), "qualified"));
    let (status, told) = story.qualify(json!({})).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!((&told["sent"], &told["qualification"]["status"]), (&json!(true), &json!("qualified")));

    let requests = model.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
    assert!(requests[0].to_ascii_lowercase().contains("authorization: bearer key-of-the-model"));
    assert!(!requests[0].contains(CANARY), "a branch that was not chosen is in the bytes");
    assert!(requests[0].contains("au fioul") && !requests[0].contains("Camille"));
    let body: Value = serde_json::from_str(requests[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        (&body["model"], &body["response_format"]["type"]),
        (&json!("qualifier-1"), &json!("json_schema"))
    );
    let sent = text(&body["messages"][1]["content"]);
    let hash = hex::encode(Sha256::digest(&sent));
    assert_eq!(told["payloadSha256"], json!(hash));
    assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), told["payload"]);
    assert_eq!(sent.len() as u64, told["payloadBytes"].as_u64().unwrap());

    let recorded = story.latest().await;
    assert_eq!(recorded["answers"], json!({ "owner": true, "fuel": "oil" }));
    assert_eq!(recorded["notes"], json!("Owns the house and heats with oil."));
    assert_eq!(recorded["scriptExecutionId"], json!(story.execution));
    let endpoint = model.address.to_string();
    let by_model = json!({ "model": "qualifier-1", "endpoint": endpoint, "payloadSha256": hash });
    assert_eq!(recorded["byModel"], by_model);
    let counts = json!({ "campaignIds": [story.campaign] });
    let counts = story.agent.done("bulk_get_campaign_contact_counts", counts).await;
    assert_eq!(counts["counts"][0]["byStatus"]["qualified"], json!(1));
    // Neither the hash nor what was said stands open in the ledger.
    let pool = story.app.database.pool();
    let stored: String = sqlx::query_scalar(
        "SELECT string_agg(payload::text, ' ') FROM ledger.events WHERE aggregate_type = 'Qualification'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!(stored.contains("qualifier-1") && !stored.contains(&hash) && !stored.contains("Owns the house"));
}

#[tokio::test]
async fn a_dry_run_asks_nobody() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let before = story.events().await;
    let (status, told) = story.qualify(json!({ "dryRun": true })).await;
    assert_eq!((status, &told["sent"]), (200, &json!(false)));
    assert_eq!(told["model"]["model"], json!("qualifier-1"));
    assert!(model.requests().is_empty());
    assert_eq!(story.events().await, before);
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_records_nothing() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let good = answer(json!({ "owner": true }), "qualified").to_string();
    let cut = json!({ "choices": [{ "message": { "content": good }, "finish_reason": "length" }] });
    let declined = json!({ "choices": [{ "message": { "refusal": CANARY }, "finish_reason": "stop" }] });
    let large = format!("{{\"padding\":\"{}\"}}", "x".repeat((1 << 20) + 1));
    for (plan, status, code) in [
        (Plan::HangUp, 502, "MODEL_FAILED"),
        (Plan::Bytes(b"no http at all\r\n\r\n".to_vec()), 502, "MODEL_FAILED"),
        (Plan::Bytes(http("500 Internal Server Error", CANARY)), 502, "MODEL_FAILED"),
        (Plan::Bytes(http("429 Too Many Requests", "{}")), 502, "MODEL_FAILED"),
        (Plan::Bytes(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()), 502, "MODEL_FAILED"),
        (Plan::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec()), 502, "MODEL_FAILED"),
        (Plan::Bytes(http("200 OK", "<html>")), 502, "MODEL_FAILED"),
        (Plan::Bytes(http("200 OK", &large)), 502, "MODEL_FAILED"),
        (Plan::Bytes(http("200 OK", &cut.to_string())), 502, "MODEL_FAILED"),
        (Plan::Bytes(http("200 OK", &declined.to_string())), 502, "MODEL_FAILED"),
        (Plan::Bytes(completion("Sure! Here is the JSON:")), 502, "MODEL_FAILED"),
        (Plan::Bytes(completion("[]")), 502, "MODEL_ANSWER_UNFIT"),
        (Plan::Bytes(completion(r#"{"answers":{},"verdict":"maybe","summary":null}"#)), 502, "MODEL_ANSWER_UNFIT"),
        (Plan::Bytes(completion(&answer(json!({ "owner": CANARY }), "qualified").to_string())), 502, "MODEL_ANSWER_UNFIT"),
        (Plan::Bytes(completion(&answer(json!({ "fuel": "coal" }), "qualified").to_string())), 502, "MODEL_ANSWER_UNFIT"),
        (Plan::Bytes(completion(&answer(json!({ "area": 901 }), "qualified").to_string())), 502, "MODEL_ANSWER_UNFIT"),
        (Plan::Bytes(completion(&answer(json!({ "colour": "red" }), "qualified").to_string())), 502, "MODEL_ANSWER_UNFIT"),
    ] {
        model.will(plan);
        story.refused(status, code).await;
    }
    // What was not said leaves a draft.
    model.says(&answer(json!({ "fuel": "gas" }), "qualified"));
    let (_, told) = story.qualify(json!({})).await;
    assert_eq!(told["qualification"]["status"], json!("draft"));
    assert_eq!(told["qualification"]["missing"], json!(["owner"]));
}

#[tokio::test]
async fn a_model_that_nobody_answers_for_is_refused() {
    let model = Model::start().await;
    let gone = model.client();
    drop(model);
    let story = Story::begin(Some(gone)).await;
    story.refused(502, "MODEL_FAILED").await;
}

#[tokio::test]
async fn a_model_that_takes_too_long_is_not_waited_for() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client().waited_for(Duration::from_millis(100)))).await;
    model.will(Plan::Held(Arc::default(), vec![]));
    story.refused(504, "MODEL_TOO_SLOW").await;
    // Nor one that begins to answer and then goes silent.
    model.will(Plan::Trickle(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec()));
    story.refused(504, "MODEL_TOO_SLOW").await;
}

#[tokio::test]
async fn what_a_person_answered_is_kept() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let draft = json!({
        "campaignId": story.campaign, "contactId": story.contact, "answers": { "fuel": "gas" }, "notes": "My own",
    });
    let draft = story.agent.done("create_qualification", draft).await["qualification"].clone();
    model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
    let (status, told) = story.qualify(json!({})).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["qualification"]["qualificationId"], draft["qualificationId"]);
    let recorded = story.latest().await;
    assert_eq!(recorded["answers"], json!({ "owner": true, "fuel": "gas" }));
    assert_eq!((&recorded["notes"], &recorded["status"]), (&json!("My own"), &json!("qualified")));
}

#[tokio::test]
async fn what_a_person_answered_is_kept_however_often_a_model_is_asked() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let draft = json!({
        "campaignId": story.campaign, "contactId": story.contact, "answers": { "owner": false }, "notes": "My own",
    });
    story.agent.done("create_qualification", draft).await;
    for area in [5, 6] {
        model.says(&answer(json!({ "owner": true, "area": area }), "undecided"));
        let (status, told) = story.qualify(json!({})).await;
        assert_eq!(status, 200, "{told}");
        let recorded = story.latest().await;
        assert_eq!(
            recorded["answers"],
            json!({ "owner": false, "area": area }),
            "a model may correct itself"
        );
        assert_eq!(recorded["notes"], json!("My own"));
    }
}

#[tokio::test]
async fn a_conversation_that_goes_on_meanwhile_is_not_overrun() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let until = Arc::new(Notify::new());
    let said = answer(json!({ "owner": true }), "qualified").to_string();
    model.will(Plan::Held(until.clone(), completion(&said)));
    let qualifying = async {
        let asked = story.qualify(json!({})).await;
        (asked.0, text(&asked.1["code"]))
    };
    let meanwhile = async {
        model.asked.notified().await;
        // No transaction is open while the model thinks: the ledger takes writes about the same contact.
        let responses = json!([{ "nodeId": "owner", "value": "Non" }]);
        let input =
            json!({ "campaignId": story.campaign, "contactId": story.contact, "responses": responses });
        story.agent.done("upsert_script_execution", input).await;
        until.notify_one();
    };
    let (told, ()) = tokio::join!(qualifying, meanwhile);
    assert_eq!(told, (409, "CONFLICT".to_owned()));
    let listed = story.agent.done("list_qualifications", json!({})).await;
    assert_eq!(listed["qualifications"], json!([]));
}

#[tokio::test]
async fn of_two_who_qualify_at_once_one_record_comes() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "fuel": "oil" }), "undecided"));
    let (one, two) = tokio::join!(story.qualify(json!({})), story.qualify(json!({})));
    let statuses = [one.0, two.0];
    assert!(
        statuses.contains(&200) && statuses.iter().all(|status| [200, 409].contains(status)),
        "{one:?} {two:?}"
    );
    let listed = story.agent.done("list_qualifications", json!({})).await;
    assert_eq!(listed["qualifications"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn one_conversation_comes_to_one_record_however_often_it_is_judged() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
    let path = story.path();
    let run = |key: String| {
        let path = &path;
        let board = &story.board;
        async move {
            let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
            board.send(hyper::Method::POST, path, &headers, b"{}".to_vec()).await.unwrap()
        }
    };
    let mut answers = join_all((0..10).map(|n| run(format!("at-once-{n}")))).await;
    model.says(&answer(json!({ "owner": true, "fuel": "gas" }), "qualified"));
    for n in 0..3 {
        answers.push(run(format!("later-{n}")).await);
    }
    // What was answered is answered so again.
    answers.push(run("later-2".into()).await);
    let first = &answers[0].1["qualification"];
    for (status, told) in &answers {
        assert_eq!((*status, &told["qualification"]), (200, first), "{told}");
    }
    assert_eq!(first["status"], json!("qualified"));
    assert_eq!(answers[12].1["sent"], json!(false), "what is decided is not asked again");
    let listed = story.agent.done("list_qualifications", json!({})).await;
    assert_eq!(listed["qualifications"].as_array().unwrap().len(), 1);

    // Whoever wants it judged anew opens the record.
    let reopen = json!({ "qualificationId": first["qualificationId"], "patch": { "status": "draft" } });
    story.agent.done("update_qualification", reopen).await;
    let (status, told) = run("anew".into()).await;
    assert_eq!((status, &told["sent"]), (200, &json!(true)), "{told}");
    assert_eq!(told["qualification"]["answers"]["fuel"], json!("gas"));
    let listed = story.agent.done("list_qualifications", json!({})).await;
    assert_eq!(listed["qualifications"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_conversation_came_to_stands_whatever_was_begun_for_the_contact_since() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
    let (_, first) = story.qualify(json!({})).await;
    story.drafted_by_a_person().await;
    model.says(&answer(json!({ "owner": false, "fuel": "oil" }), "not_qualified"));
    let (status, told) = story.qualify(json!({})).await;
    assert_eq!((status, &told["sent"]), (200, &json!(false)), "{told}");
    assert_eq!(told["qualification"], first["qualification"]);
    story.stands_as("qualified").await;
}

#[tokio::test]
async fn a_model_does_not_decide_again_what_a_person_decided() {
    for names_it in [true, false] {
        let model = Model::start().await;
        let story = Story::begin(Some(model.client())).await;
        let decided = story.decided_by_a_person(names_it).await;
        model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
        let (status, told) = story.qualify(json!({})).await;
        assert_eq!((status, &told["sent"]), (200, &json!(false)), "{told}");
        assert_eq!(told["qualification"]["qualificationId"], decided);
        assert_eq!(told["qualification"]["status"], json!("not_qualified"));
        assert!(model.requests().is_empty());
        story.stands_as("not_interested").await;
    }
}

/// What a person does while the model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    /// Decides at once, and names the conversation or does not.
    Decides { names_it: bool },
    /// Begins a record, and then decides.
    BeginsAndDecides,
    /// Begins a record.
    Begins,
}

#[tokio::test]
async fn a_model_does_not_overrule_whoever_decides_while_it_is_asked() {
    for meanwhile in [
        Meanwhile::Decides { names_it: true },
        Meanwhile::Decides { names_it: false },
        Meanwhile::BeginsAndDecides,
        Meanwhile::Begins,
    ] {
        let model = Model::start().await;
        let story = Story::begin(Some(model.client())).await;
        let until = Arc::new(Notify::new());
        let said = answer(json!({ "owner": true, "fuel": "oil" }), "qualified").to_string();
        model.will(Plan::Held(until.clone(), completion(&said)));
        let person = async {
            model.asked.notified().await;
            let id = match meanwhile {
                Meanwhile::Decides { names_it } => story.decided_by_a_person(names_it).await,
                Meanwhile::BeginsAndDecides => {
                    let id = story.drafted_by_a_person().await;
                    story.patch(&id, json!({ "status": "not_qualified" })).await;
                    id
                }
                Meanwhile::Begins => story.drafted_by_a_person().await,
            };
            until.notify_one();
            id
        };
        let ((status, told), id) = tokio::join!(story.qualify(json!({})), person);
        if meanwhile == Meanwhile::Begins {
            assert_eq!((status, &told["code"]), (409, &json!("QUALIFICATION_OPEN")), "{told}");
            story.stands_as("in_progress").await;
        } else {
            assert_eq!(status, 200, "{told}");
            assert_eq!(told["qualification"]["qualificationId"], id, "{meanwhile:?}");
            assert_eq!(told["qualification"]["status"], json!("not_qualified"), "{meanwhile:?}");
            story.stands_as("not_interested").await;
        }
        let listed = story.agent.done("list_qualifications", json!({})).await;
        assert_eq!(listed["qualifications"].as_array().unwrap().len(), 1, "{meanwhile:?}");
        assert_eq!(listed["qualifications"][0]["qualificationId"], id, "{meanwhile:?}");
    }
}

#[tokio::test]
async fn what_a_person_confirmed_or_took_away_is_kept() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true, "fuel": "oil", "area": 5 }), "undecided"));
    // Until the model has the last word of its own, nobody has confirmed anything.
    let (_, told) = story.qualify(json!({})).await;
    let id = told["qualification"]["qualificationId"].clone();
    story.patch(&id, json!({ "status": "draft" })).await;
    let patch = json!({ "answers": { "owner": true, "fuel": null }, "notes": null });
    story.patch(&id, patch.clone()).await;
    let before = story.events().await;
    story.patch(&id, patch).await;
    assert_eq!(story.events().await, before, "what is confirmed once is confirmed");

    model.says(&answer(json!({ "owner": false, "fuel": "gas", "area": 6 }), "undecided"));
    let (status, told) = story.qualify(json!({})).await;
    assert_eq!(status, 200, "{told}");
    let recorded = story.latest().await;
    assert_eq!(recorded["answers"], json!({ "owner": true, "area": 6 }), "a model may correct itself alone");
    assert_eq!(recorded["notes"], Value::Null);
}

#[tokio::test]
async fn a_verdict_that_a_person_confirmed_stands_for_every_conversation() {
    for confirms in [true, false] {
        let model = Model::start().await;
        let story = Story::begin(Some(model.client())).await;
        model.says(&answer(json!({ "owner": false, "fuel": "oil" }), "not_qualified"));
        let (_, told) = story.qualify(json!({})).await;
        let id = told["qualification"]["qualificationId"].clone();
        if confirms {
            story.patch(&id, json!({ "status": "not_qualified" })).await;
        }
        // The same contact is talked to once more.
        let again = story.talked_to_again().await;
        model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
        let path = story.board.crm(&format!("script-executions/{again}/auto-qualify"));
        let (status, told) = story.board.post(&path, json!({})).await;
        assert_eq!((status, &told["sent"]), (200, &json!(!confirms)), "{told}");
        assert_eq!(told["qualification"]["qualificationId"] == id, confirms, "{told}");
        story.stands_as(if confirms { "not_interested" } else { "qualified" }).await;
    }
}

#[tokio::test]
async fn of_several_verdicts_of_persons_each_stands_until_its_own_record_is_opened() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
    let (first, second) = (story.decided_by_a_person(false).await, story.decided_by_a_person(false).await);
    let stands = async |id: &Value| {
        let (status, told) = story.qualify(json!({})).await;
        assert_eq!((status, &told["sent"]), (200, &json!(false)), "{told}");
        assert_eq!(&told["qualification"]["qualificationId"], id, "{told}");
        story.stands_as("not_interested").await;
    };
    // Whichever of two is opened again, the other one stands.
    for (opened, stays) in [(&first, &second), (&second, &first)] {
        story.patch(opened, json!({ "status": "draft" })).await;
        stands(stays).await;
        story.patch(opened, json!({ "status": "not_qualified" })).await;
    }
    // A fresh draft opens nothing again.
    let draft = story.drafted_by_a_person().await;
    let (_, told) = story.qualify(json!({})).await;
    assert_eq!((&told["sent"], &told["qualification"]["status"]), (&json!(false), &json!("not_qualified")));
    story.patch(&draft, json!({ "answers": { "owner": true }, "status": "qualified" })).await;
    story.stands_as("qualified").await;
    assert!(model.requests().is_empty());
}

/// A record that a person began, and what becomes of it and the contact while the model is asked.
#[tokio::test]
async fn what_is_said_in_an_earlier_stay_is_not_recorded_in_a_draft_of_it() {
    for answers in [json!({ "owner": true }), json!({})] {
        let model = Model::start().await;
        let story = Story::begin(Some(model.client())).await;
        story.drafted_by_a_person().await;
        let until = Arc::new(Notify::new());
        model.will(Plan::Held(until.clone(), completion(&answer(answers.clone(), "qualified").to_string())));
        let meanwhile = async {
            model.asked.notified().await;
            story.put_in_again().await;
            let events = story.events().await;
            until.notify_one();
            events
        };
        let ((status, told), events) = tokio::join!(story.qualify(json!({})), meanwhile);
        assert_eq!((status, &told["code"]), (409, &json!("CONFLICT")), "{told}");
        assert_eq!(story.events().await, events, "{answers}");
        story.stands_as("new").await;
    }
}

#[tokio::test]
async fn a_model_does_not_move_whom_a_caller_concluded_in_a_call() {
    for meanwhile in [false, true] {
        let model = Model::start().await;
        let story = Story::begin(Some(model.client())).await;
        let until = Arc::new(Notify::new());
        let said = answer(json!({ "owner": true, "fuel": "oil" }), "qualified").to_string();
        if meanwhile {
            model.will(Plan::Held(until.clone(), completion(&said)));
        } else {
            story.called("not_interested").await;
            model.will(Plan::Bytes(completion(&said)));
        }
        let person = async {
            if meanwhile {
                model.asked.notified().await;
                story.called("not_interested").await;
                until.notify_one();
            }
        };
        let ((status, told), ()) = tokio::join!(story.qualify(json!({})), person);
        assert_eq!((status, &told["sent"]), (200, &json!(true)), "{told}");
        assert_eq!(told["qualification"]["status"], json!("qualified"), "{told}");
        assert_eq!(told["warnings"][0]["code"], json!("CONTACT_NOT_MOVED"), "{told}");
        story.stands_as("not_interested").await;
        // Whoever asks again is told the same.
        let (_, again) = story.qualify(json!({})).await;
        assert_eq!((&again["sent"], &again["warnings"]), (&json!(false), &told["warnings"]), "{again}");
        // A person may say otherwise by now, be it by repeating what the model said.
        story.patch(&told["qualification"]["qualificationId"], json!({ "status": "qualified" })).await;
        story.stands_as("qualified").await;
    }
    // Where nobody was reached, or nothing concluded, the model's verdict moves the contact and there is nothing to say.
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    story.called("reached").await;
    model.says(&answer(json!({ "owner": true, "fuel": "oil" }), "qualified"));
    let (_, told) = story.qualify(json!({})).await;
    assert_eq!(told["warnings"], json!([]), "{told}");
    story.stands_as("qualified").await;
    let (_, again) = story.qualify(json!({})).await;
    assert_eq!((&again["sent"], &again["warnings"]), (&json!(false), &json!([])), "{again}");
}

#[tokio::test]
async fn a_draft_of_an_earlier_stay_is_told_before_the_model_is_asked() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let draft = story.drafted_by_a_person().await;
    story.put_in_again().await;
    let responses = json!([{ "nodeId": "owner", "value": "Non" }]);
    let input = json!({ "campaignId": story.campaign, "contactId": story.contact, "responses": responses });
    let begun = story.agent.done("upsert_script_execution", input).await;
    let path = story
        .board
        .crm(&format!("script-executions/{}/auto-qualify", text(&begun["execution"]["executionId"])));
    let (status, told) = story.board.post(&path, json!({})).await;
    assert_eq!((status, &told["code"]), (409, &json!("QUALIFICATION_OPEN")), "{told}");
    assert!(told.to_string().contains(&text(&draft)), "{told}");
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn the_same_request_is_answered_once() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true }), "qualified"));
    let send = || story.qualify_under("qualify-1");
    let first = send().await.unwrap();
    let again = send().await.unwrap();
    assert_eq!((first.0, &first), (200, &again));
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn a_request_that_comes_five_times_at_once_asks_the_model_once() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true }), "qualified"));
    let send = || story.qualify_under("qualify-1");
    let answers = join_all((0..5).map(|_| send())).await;
    let first = answers[0].as_ref().unwrap();
    for told in &answers {
        assert_eq!(told.as_ref().unwrap(), first);
    }
    assert_eq!((first.0, model.requests().len()), (200, 1));
}

#[tokio::test]
async fn a_model_is_asked_once_about_a_conversation_whichever_process_is_called() {
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    let until = Arc::new(Notify::new());
    let said = answer(json!({ "owner": true }), "qualified").to_string();
    model.will(Plan::Held(until.clone(), completion(&said)));
    let another = App { model: Some(model.client()), ..story.app.another().await };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = Settings { rate: None, ..Settings::default() };
    let served = docket::http::serve(another, settings, listener, std::future::pending());
    let serving = tokio::spawn(async move { served.await.unwrap() });
    let organization = story.board.organization;
    let token = story.app.token(Role::Board, Some(organization)).await;
    let elsewhere = Client::new(address, token, organization);

    let path = story.path();
    let calls = (0..6).map(|n| {
        let client = if n % 2 == 0 { &story.board } else { &elsewhere };
        client.post(&path, json!({}))
    });
    let answering = async {
        model.asked.notified().await;
        // Once: whoever asked a second time would wait for ever.
        until.notify_one();
    };
    let (answers, ()) = tokio::join!(join_all(calls), answering);
    assert_eq!(model.requests().len(), 1);
    for (status, told) in &answers {
        assert_eq!((*status, &told["qualification"]), (200, &answers[0].1["qualification"]), "{told}");
    }
    assert_eq!(answers.iter().filter(|(_, told)| told["sent"] == json!(true)).count(), 1);
    serving.abort();
}

#[tokio::test]
async fn what_is_answered_or_decided_already_waits_for_no_turn() {
    const LONG: Duration = Duration::from_secs(60);
    // Less than a call waits for a turn that nobody gives back.
    const AT_ONCE: Duration = Duration::from_secs(15);
    let model = Model::start().await;
    let story = Story::begin(Some(model.client())).await;
    model.says(&answer(json!({ "owner": true }), "qualified"));
    let send = || story.qualify_under("qualify-1");
    let first = send().await.unwrap();
    assert_eq!(first.0, 200, "{}", first.1);

    // A process took the turn and died.
    let organization = story.board.organization;
    let tool = "POST /api/companies/{companyId}/crm/script-executions/{executionId}/auto-qualify";
    let key = FlightKey::of(organization, PrincipalId(Uuid::nil()), tool, &story.execution);
    let turn = Turn::take(&story.app.app.ledger, organization, key, LONG, LONG).await.unwrap();
    let again = tokio::time::timeout(AT_ONCE, send()).await.expect("a replay waits for nobody").unwrap();
    assert_eq!(again, first);
    let decided = tokio::time::timeout(AT_ONCE, story.qualify(json!({}))).await;
    let (status, told) = decided.expect("what is decided waits for nobody");
    assert_eq!((status, &told["sent"]), (200, &json!(false)), "{told}");
    assert_eq!(told["qualification"], first.1["qualification"]);
    assert_eq!(model.requests().len(), 1);
    drop(turn);
}

#[tokio::test]
async fn a_turn_goes_to_the_next_and_one_that_nobody_came_back_to_is_over_by_itself() {
    const LONG: Duration = Duration::from_secs(60);
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let key = |name: &str| FlightKey::of(organization, PrincipalId(Uuid::nil()), "test", name);
    let take = |name: &str, within, lasting| {
        let (ledger, key) = (app.app.ledger.clone(), key(name));
        async move { Turn::take(&ledger, organization, key, within, lasting).await }
    };
    let first = take("a", LONG, LONG).await.unwrap();
    assert!(take("b", LONG, LONG).await.is_some(), "another matter is free");
    assert!(take("a", Duration::from_millis(1), LONG).await.is_none(), "nobody waits for ever");
    let (second, ()) = tokio::join!(take("a", LONG, LONG), async { drop(first) });
    assert!(second.is_some());

    let lost = take("c", LONG, Duration::ZERO).await.unwrap();
    let heir = take("c", LONG, LONG).await.unwrap();
    // Whoever comes back too late takes nothing away from the heir.
    drop(lost);
    assert!(take("c", Duration::from_millis(200), LONG).await.is_none());
    drop(heir);
    assert!(take("c", LONG, LONG).await.is_some());
}

#[tokio::test]
async fn what_cannot_be_qualified_is_refused() {
    let story = Story::begin(None).await;
    let other = story.app.organization().await;
    let stranger = story.app.client(Role::Board, other).await;
    let theirs = stranger.crm(&format!("script-executions/{}/auto-qualify", story.execution));
    assert_eq!(stranger.post(&theirs, json!({})).await.1["code"], json!("EXECUTION_NOT_FOUND"));
    let auditor = story.app.client(Role::Auditor, story.board.organization).await;
    assert_eq!(auditor.post(&story.path(), json!({})).await.0, 403);
    for (body, status, code) in [
        (json!({ "colour": 1 }), 400, "VALIDATION_FAILED"),
        (json!({ "templateId": "x" }), 400, "VALIDATION_FAILED"),
        (json!({ "templateId": "0190a0f0-0000-7000-8000-00000000000f" }), 404, "TEMPLATE_NOT_FOUND"),
    ] {
        let (told, answer) = story.qualify(body.clone()).await;
        assert_eq!((told, &answer["code"]), (status, &json!(code)), "{body}");
    }
    let malformed = story.board.crm("script-executions/x/auto-qualify");
    assert_eq!(story.board.post(&malformed, json!({})).await.0, 400);
    let detach = json!({ "campaignId": story.campaign, "qualificationTemplateId": null });
    story.agent.done("attach_campaign_templates", detach).await;
    story.refused(404, "NO_QUALIFICATION_TEMPLATE").await;
    let named = json!({ "templateId": story.template });
    assert_eq!(story.qualify(named).await.0, 200);

    // What was said in an earlier stay counts no more.
    let remove = json!({ "campaignId": story.campaign, "contactIds": [story.contact], "confirm": true });
    story.agent.done("bulk_remove_contacts_from_campaign", remove).await;
    story.refused(422, "NOT_IN_CAMPAIGN").await;
    let add = json!({ "campaignId": story.campaign, "filter": { "source": "crm" }, "maxContacts": 5 });
    story.agent.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    story.refused(422, "NOT_IN_CAMPAIGN").await;
}
