//! Post-issue hooks: the operator's file, put in force as a whole, and what they find out after a message went out.

use std::path::PathBuf;

use docket::app::App;
use docket::hooks::{self, Hooks};
use docket::language_model::{LanguageModel, LanguageModelConfig};
use docket::ledger::Origin;
use docket::ledger::instant::Instant;
use docket::service::Call;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{BucketId, MessageId, OrganizationId, OutboxId, PrincipalId, SubjectId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{Draft, Grounds, Message, MessageCommand, MessageContent, Outcome, Ruling};
use docket_aggregates::token::Role;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::channels::provider::{Act, Provider};
use crate::support::{Client, TestApp, eventually};

const RELOAD: &str = "/api/admin/post-issue-hooks/reload";
const COVERAGE: &str =
    "hooks:\n  - id: brand-voice-coverage\n    run: brand-voice-coverage\n    after: [sent, sent_dryrun]\n";
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct Story {
    app: TestApp,
    admin: Client,
    folder: tempfile::TempDir,
}

impl Story {
    async fn begin() -> Self {
        Self::with_model(None).await
    }

    async fn with_model(model: Option<LanguageModel>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hooks = Hooks::new(Some(folder.path().join("post-issue-hooks.yaml")));
        let app = TestApp::changed(|app| App { hooks, model, ..app }).await;
        let organization = app.organization().await;
        let admin = app.client(Role::InstanceAdmin, organization).await;
        Self { app, admin, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("post-issue-hooks.yaml")
    }

    async fn reload(&self) -> (u16, Value) {
        self.admin.send(hyper::Method::POST, RELOAD, &[], vec![]).await.unwrap()
    }

    async fn put(&self, text: &str) -> (u16, Value) {
        std::fs::write(self.file(), text).unwrap();
        self.reload().await
    }

    /// Sends a message as the dispatcher would record it; with the dry-run channel, rehearses one.
    async fn issue(&self, channel: Channel, payload: Value) -> MessageId {
        self.issue_of(self.admin.organization, channel, payload).await
    }

    async fn issue_of(&self, organization: OrganizationId, channel: Channel, payload: Value) -> MessageId {
        let message_id: MessageId = self.app.clock.mint();
        let draft = Draft {
            message_id,
            channel,
            outbox_id: self.app.clock.mint::<OutboxId>(),
            subject: self.app.clock.mint::<SubjectId>(),
            recipient_hash: "ab".into(),
            content: MessageContent { to: "canary-8Jq@example.com".into(), payload: payload.to_string() },
            content_hash: "cd".into(),
            labels: Labels::default(),
            content_piece_id: None,
            dedup: None,
            drafter: self.app.clock.mint::<PrincipalId>(),
            agent_id: None,
            contact_id: None,
            campaign_id: None,
            sequence_id: None,
            step: None,
            co_authors: vec![],
        };
        let grounds = Grounds::default();
        let dry = channel == Channel::DryRun;
        let ruling = if dry { Ruling::DryRun } else { Ruling::AutoApprove };
        let mut commands = vec![
            MessageCommand::Draft(Box::new(draft)),
            MessageCommand::Decide { ruling, grounds, not_before: None },
        ];
        if !dry {
            let at = self.app.clock.now();
            commands.extend([
                MessageCommand::Send {
                    bucket_id: self.app.clock.mint::<BucketId>(),
                    provider_key: "k".into(),
                    keyed: None,
                    at,
                },
                MessageCommand::Record {
                    attempt: 1,
                    outcome: Outcome::Accepted { provider_hash: None, answer: None },
                    at,
                    jitter: 0,
                },
            ]);
        }
        for command in commands {
            let (id, at) = (self.app.clock.mint(), self.app.clock.now());
            let origin = Origin::system("test");
            self.app
                .app
                .ledger
                .order::<Message>(organization, message_id, id, at, &origin, None, command)
                .await
                .unwrap();
        }
        message_id
    }

    async fn check(&self, text: &str) {
        let sha256 = hex::encode(Sha256::digest(text.as_bytes()));
        let body = json!({ "contentSha256": sha256, "draft": text });
        assert_eq!(self.admin.post(&self.admin.crm("brand-voice/check"), body).await.0, 200);
    }

    /// The coverage, once so many messages were looked at.
    async fn coverage_of(&self, messages: i64) -> Value {
        eventually("the hook looks at the messages", || async {
            let (status, view) = self.admin.get(&self.admin.crm("brand-voice/coverage")).await;
            assert_eq!(status, 200, "{view}");
            (view["messages"] == messages).then_some(view)
        })
        .await
    }

    /// Waits until everything that was appended was seen by the hooks in force.
    async fn followed(&self) {
        eventually("the ledger is followed", || async {
            let followed = "SELECT true FROM ledger.followers f JOIN ledger.heads h USING (organization_id, position) \
                            WHERE organization_id = $1 AND handler = 'post-issue-hooks'";
            sqlx::query_scalar::<_, bool>(followed)
                .bind(self.admin.organization.uuid())
                .fetch_optional(self.app.app.ledger.pool())
                .await
                .unwrap()
        })
        .await;
    }

    async fn recorded(&self) -> Vec<Value> {
        sqlx::query_scalar(
            "SELECT payload FROM ledger.events WHERE event_type = 'HooksReloaded' ORDER BY position",
        )
        .fetch_all(self.app.app.ledger.pool())
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_file_is_put_in_force_without_a_restart() {
    let story = Story::begin().await;
    let nothing = json!({
        "version": 0, "hookCount": 0, "hooks": [], "sha256": EMPTY_SHA256, "changed": false,
    });
    let (status, mut answer) = story.reload().await;
    assert_eq!(status, 200);
    assert!(answer.as_object_mut().unwrap().remove("loadedAt").unwrap().is_string());
    assert_eq!(answer, nothing, "a file that is missing is an empty registry");

    let (_, first) = story.put(COVERAGE).await;
    let sha256 = hex::encode(Sha256::digest(COVERAGE.as_bytes()));
    assert_eq!(first["hooks"], json!([{ "id": "brand-voice-coverage", "enabled": true }]));
    assert_eq!((&first["version"], &first["hookCount"]), (&json!(1), &json!(1)));
    assert_eq!((&first["sha256"], &first["changed"]), (&json!(sha256), &json!(true)));

    story.app.clock.advance(60_000);
    let (_, again) = story.reload().await;
    assert_eq!((&again["changed"], &again["version"]), (&json!(false), &json!(1)));
    assert_eq!(again["loadedAt"], first["loadedAt"]);

    let (_, off) = story.put(&format!("{COVERAGE}    enabled: false\n")).await;
    assert_eq!(off["hooks"][0]["enabled"], false);
    assert_eq!((&off["changed"], &off["version"]), (&json!(true), &json!(2)));
    assert_ne!(off["loadedAt"], first["loadedAt"]);

    std::fs::remove_file(story.file()).unwrap();
    let (_, gone) = story.reload().await;
    assert_eq!(
        (&gone["hookCount"], &gone["version"], &gone["changed"]),
        (&json!(0), &json!(3), &json!(true))
    );
    let recorded = story.recorded().await;
    assert_eq!(recorded.len(), 3, "what changed nothing is not recorded");
    assert_eq!(recorded[0]["sha256"], sha256);
    assert_eq!(recorded[1]["hooks"], json!([{ "id": "brand-voice-coverage", "enabled": false }]));
}

#[tokio::test]
async fn a_file_that_is_refused_leaves_the_old_hooks_in_force() {
    let story = Story::begin().await;
    assert_eq!(story.put(COVERAGE).await.0, 200);
    let large = format!("{COVERAGE}#{}", "x".repeat(256 * 1024));
    let twice = format!("{COVERAGE}{}", &COVERAGE["hooks:\n".len()..]);
    for text in [
        "hooks: [",
        "hooks:\n\t- id: a\n",
        "a: &a [x]\nhooks: *a\n",
        "hooks:\n  - id: a\n    run: unknown\n",
        &twice,
        &large,
    ] {
        let (status, answer) = story.put(text).await;
        assert_eq!((status, &answer["code"]), (422, &json!("HOOKS_REFUSED")), "{answer}");
        assert!(answer["error"].as_str().unwrap().len() < 500);
        assert!(story.app.app.hooks.registry().get("brand-voice-coverage").is_some());
    }
    #[cfg(unix)]
    {
        std::fs::remove_file(story.file()).unwrap();
        let outside = tempfile::tempdir().unwrap();
        let canary = outside.path().join("secret");
        std::fs::write(&canary, "canary-8Jq: [").unwrap();
        std::os::unix::fs::symlink(&canary, story.file()).unwrap();
        let (status, answer) = story.reload().await;
        assert_eq!(status, 422);
        assert!(!answer.to_string().contains("canary-8Jq"), "nothing of a file elsewhere is told");
        std::fs::remove_file(story.file()).unwrap();
    }
    let (_, answer) = story.put(COVERAGE).await;
    assert_eq!((&answer["changed"], &answer["version"]), (&json!(false), &json!(1)));
    assert_eq!(story.recorded().await.len(), 1);
}

#[tokio::test]
async fn only_whoever_runs_the_instance_reloads() {
    let story = Story::begin().await;
    let organization = story.admin.organization;
    for role in [Role::Board, Role::Agent, Role::Auditor, Role::Viewer] {
        let client = story.app.client(role, organization).await;
        let (status, _) = client.send(hyper::Method::POST, RELOAD, &[], vec![]).await.unwrap();
        assert_eq!(status, 403, "{}", role.name());
    }
    let token = story.app.token(Role::InstanceAdmin, Some(organization)).await;
    let limited = Client::new(story.app.address(), token, organization);
    assert_eq!(limited.send(hyper::Method::POST, RELOAD, &[], vec![]).await.unwrap().0, 403);
    let agent = story.app.client(Role::Agent, organization).await;
    assert_eq!(agent.get(&agent.crm("brand-voice/coverage")).await.0, 403);
    let auditor = story.app.client(Role::Auditor, organization).await;
    assert_eq!(auditor.get(&auditor.crm("brand-voice/coverage")).await.0, 200);
    for since in ["yesterday", "1969-01-01T00:00:00Z"] {
        assert_eq!(auditor.get(&auditor.crm(&format!("brand-voice/coverage?since={since}"))).await.0, 400);
    }
}

#[tokio::test]
async fn reloads_at_once_agree() {
    let story = Story::begin().await;
    std::fs::write(story.file(), COVERAGE).unwrap();
    let mut reloading = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let admin = story.admin.clone();
        reloading.spawn(async move { admin.send(hyper::Method::POST, RELOAD, &[], vec![]).await.unwrap() });
    }
    let answers = reloading.join_all().await;
    assert!(answers.iter().all(|(status, answer)| *status == 200 && answer["version"] == 1));
    assert_eq!(answers.iter().filter(|(_, answer)| answer["changed"] == true).count(), 1);
    assert_eq!(story.recorded().await.len(), 1);
}

#[tokio::test]
async fn another_process_takes_over_what_its_own_file_says_too() {
    let story = Story::begin().await;
    let other = story.app.another().await;
    let same_file = App { hooks: Hooks::new(Some(story.file())), ..other.clone() };
    let another_file = App { hooks: Hooks::new(Some(story.folder.path().join("none.yaml"))), ..other };
    let ending = tokio_util::sync::CancellationToken::new();
    let running: Vec<_> = [&same_file, &another_file]
        .map(|app| tokio::spawn(hooks::run((*app).clone(), ending.clone())))
        .into_iter()
        .collect();
    assert_eq!(story.put(COVERAGE).await.0, 200);
    eventually("it takes over", || async {
        same_file.hooks.registry().get("brand-voice-coverage").map(|_| ())
    })
    .await;
    assert!(another_file.hooks.registry().hooks.is_empty());
    // It has nothing left to do there.
    let call = Call::of_system(&same_file, OrganizationId::INSTANCE, "test");
    let done = hooks::reload(&same_file, &call).await.unwrap();
    assert!(!done.entity.changed && done.appended.is_none());
    ending.cancel();
    for running in running {
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_process_without_the_hooks_in_force_stands_aside() {
    let story = Story::begin().await;
    let file = story.folder.path().join("late.yaml");
    let late = App { hooks: Hooks::new(Some(file.clone())), ..story.app.another().await };
    let ending = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(hooks::run(late.clone(), ending.clone()));
    assert_eq!(story.put(COVERAGE).await.0, 200);
    // It shares the cursor and the runs; whatever it took of either would be lost.
    for number in 1..=12 {
        story.issue(Channel::Linkedin, json!({ "kind": "message", "text": "We build roofs." })).await;
        assert_eq!(story.coverage_of(number).await["waiting"], 0);
    }
    assert!(late.hooks.registry().hooks.is_empty());
    // Its file arrives: no further reload is needed.
    std::fs::write(&file, COVERAGE).unwrap();
    eventually("it takes over", || async { late.hooks.registry().get("brand-voice-coverage").map(|_| ()) })
        .await;
    ending.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_is_issued_while_nobody_has_the_hooks_in_force_is_kept() {
    let story = Story::begin().await;
    let file = story.folder.path().join("other.yaml");
    std::fs::write(&file, "hooks: []\n").unwrap();
    let other = App { hooks: Hooks::new(Some(file)), ..story.app.another().await };
    assert_eq!(story.put(COVERAGE).await.0, 200);
    // A process with another file reloads, and ends at once.
    let call = Call::of_system(&other, OrganizationId::INSTANCE, "test");
    assert!(hooks::reload(&other, &call).await.unwrap().appended.is_some());
    story.issue(Channel::Linkedin, json!({ "kind": "message", "text": "We build roofs." })).await;
    assert_eq!(story.reload().await.1["version"], 3);
    assert_eq!(story.coverage_of(1).await["uncovered"], 1);
}

#[tokio::test]
async fn a_process_that_is_started_with_an_earlier_file_changes_the_hooks_of_nobody() {
    let story = Story::begin().await;
    let older = story.folder.path().join("older.yaml");
    let switched_off = format!("{COVERAGE}    enabled: false\n");
    assert_eq!(story.put(&switched_off).await.0, 200);
    assert_eq!(story.put(COVERAGE).await.0, 200);
    std::fs::write(&older, switched_off).unwrap();
    let mut started = Vec::new();
    let ending = tokio_util::sync::CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    for file in [story.file(), story.folder.path().join("none.yaml"), older] {
        let app = App { hooks: Hooks::new(Some(file)), ..story.app.another().await };
        let call = Call::of_system(&app, OrganizationId::INSTANCE, "serve");
        hooks::begin(&app, &call).await.unwrap();
        running.spawn(hooks::run(app.clone(), ending.clone()));
        started.push(app);
    }
    assert_eq!(story.recorded().await.len(), 2);
    let in_force = |app: &App| app.hooks.registry().get("brand-voice-coverage").is_some();
    assert_eq!(started.iter().map(in_force).collect::<Vec<_>>(), [true, false, false]);
    for number in 1..=6 {
        story.issue(Channel::Linkedin, json!({ "kind": "message", "text": "We build roofs." })).await;
        story.coverage_of(number).await;
    }
    ending.cancel();
    running.join_all().await;

    // An order at one of them still puts its file in force.
    let call = Call::of_system(&started[2], OrganizationId::INSTANCE, "test");
    let done = hooks::reload(&started[2], &call).await.unwrap();
    assert!(done.entity.changed && done.appended.is_some());
    assert_eq!((done.entity.version, story.recorded().await.len()), (3, 3));
}

#[tokio::test]
async fn a_new_file_is_in_force_from_the_start_on() {
    let story = Story::begin().await;
    let app = &story.app.app;
    let call = Call::of_system(app, OrganizationId::INSTANCE, "serve");
    hooks::begin(app, &call).await.unwrap();
    assert_eq!(story.recorded().await.len(), 0, "without a file there is nothing to record");
    std::fs::write(story.file(), "hooks: [").unwrap();
    assert!(hooks::begin(app, &call).await.is_err());
    std::fs::write(story.file(), COVERAGE).unwrap();
    hooks::begin(app, &call).await.unwrap();
    assert_eq!(story.recorded().await.len(), 1);
    story.issue(Channel::Linkedin, json!({ "kind": "message", "text": "We build roofs." })).await;
    assert_eq!(story.coverage_of(1).await["uncovered"], 1);
    let (_, again) = story.reload().await;
    assert_eq!((&again["changed"], &again["version"]), (&json!(false), &json!(1)));
    // Whoever changes the file and starts again need not ask for it.
    std::fs::write(story.file(), format!("{COVERAGE}    enabled: false\n")).unwrap();
    let call = Call::of_system(app, OrganizationId::INSTANCE, "serve");
    hooks::begin(app, &call).await.unwrap();
    assert_eq!(story.recorded().await.len(), 2);
}

#[tokio::test]
async fn what_waits_for_one_company_does_not_wait_for_the_runs_of_another() {
    const MANY: usize = 24;
    let completion = json!({ "choices": [{
        "message": { "role": "assistant", "content": "{\"issues\":[]}" }, "finish_reason": "stop",
    }] });
    let provider = Provider::start((0..=MANY).map(|_| Act::answer(200, &completion))).await;
    let config = LanguageModelConfig {
        llm_url: Some(provider.base.clone()),
        llm_model: Some("m".into()),
        llm_key: None,
    };
    let story = Story::with_model(LanguageModel::open(&config).unwrap()).await;
    let other = story.app.organization().await;
    let mut runs = Vec::new();
    for number in 0..MANY {
        let message = json!({ "text": format!("Number {number}.") });
        runs.push((story.admin.organization, story.issue(Channel::Instagram, message).await));
    }
    runs.push((other, story.issue_of(other, Channel::Instagram, json!({ "text": "Elsewhere." })).await));
    story.followed().await;
    assert_eq!(story.put(COVERAGE).await.0, 200);
    // All are due at once, and the other company's last of all.
    let (of, messages): (Vec<_>, Vec<_>) =
        runs.iter().map(|(organization, message)| (organization.uuid(), message.uuid())).unzip();
    sqlx::query(
        "INSERT INTO ledger.hook_runs \
             (organization_id, hook_id, position, message_id, occurred_at, due_at, expires_at) \
         SELECT o, 'brand-voice-coverage', n, m, $3::timestamptz, $3::timestamptz - (100 - n) * interval '1 second', \
             $3::timestamptz + interval '1 day' FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS run (o, m, n)",
    )
    .bind(of)
    .bind(messages)
    .bind(Instant(story.app.clock.now()))
    .execute(story.app.app.ledger.pool())
    .await
    .unwrap();
    let asked = eventually("all of them run", || async {
        let taken = provider.taken();
        (taken.len() > MANY).then_some(taken)
    })
    .await;
    let place = asked.iter().position(|request| request.body.contains("Elsewhere.")).unwrap();
    assert!(place < MANY / 2, "it ran as number {place} of {MANY}");
}

#[tokio::test]
async fn it_is_found_out_whether_what_went_out_had_been_checked() {
    let story = Story::begin().await;
    // What went out while there was no hook is nobody's business.
    story.issue(Channel::Email, json!({ "subject": "x", "text": "Before." })).await;
    story.followed().await;
    assert_eq!(story.put(COVERAGE).await.0, 200);

    story.check("We would like to visit you.").await;
    story.issue(Channel::Email, json!({ "subject": "x", "text": "We would like to visit you." })).await;
    let shout = story.issue(Channel::Linkedin, json!({ "kind": "message", "text": "BUY OUR ROOFS" })).await;
    story.issue(Channel::Whatsapp, json!({ "templateSid": "HX1", "variables": {} })).await;
    let rehearsed = story.issue(Channel::DryRun, json!({ "text": "Hello {{name}}" })).await;
    let view = story.coverage_of(4).await;
    assert_eq!(
        (&view["covered"], &view["uncovered"], &view["notApplicable"], &view["waiting"], &view["failed"]),
        (&json!(1), &json!(2), &json!(1), &json!(0), &json!(0)),
        "{view}"
    );
    assert_eq!(view["verdicts"], json!({ "pass": 1, "warn": 1, "fail": 1 }));
    let named: Vec<&Value> =
        view["conspicuous"].as_array().unwrap().iter().map(|one| &one["activityId"]).collect();
    assert_eq!(named.len(), 2);
    assert!(named.contains(&&json!(shout)) && named.contains(&&json!(rehearsed)));

    // The hook's own judgement of a text covers nobody; an author's check afterwards covers what follows.
    story.app.clock.advance(1_000);
    let again = json!({ "kind": "message", "text": "BUY OUR ROOFS" });
    story.issue(Channel::Linkedin, again.clone()).await;
    assert_eq!(story.coverage_of(5).await["covered"], 1);
    story.app.clock.advance(1_000);
    story.check("BUY OUR ROOFS").await;
    story.app.clock.advance(1_000);
    story.issue(Channel::Linkedin, again).await;
    assert_eq!(story.coverage_of(6).await["covered"], 2);

    let rows: String = sqlx::query_scalar("SELECT string_agg(t::text, '') FROM ledger.hook_runs t")
        .fetch_one(story.app.app.ledger.pool())
        .await
        .unwrap();
    assert!(!rows.contains("ROOFS") && !rows.contains("canary-8Jq"), "no word of a message stands there");
}

#[tokio::test]
async fn a_run_that_fails_is_tried_again_later_and_counts_once() {
    let completion = json!({ "choices": [{
        "message": { "role": "assistant", "content": "{\"issues\":[]}" }, "finish_reason": "stop",
    }] });
    let provider = Provider::start([Act::answer(500, "{}"), Act::answer(200, completion)]).await;
    let config = LanguageModelConfig {
        llm_url: Some(provider.base.clone()),
        llm_model: Some("m".into()),
        llm_key: None,
    };
    let story = Story::with_model(LanguageModel::open(&config).unwrap()).await;
    assert_eq!(story.put(COVERAGE).await.0, 200);
    story.issue(Channel::Instagram, json!({ "text": "Hello." })).await;
    eventually("the first try fails", || async {
        let failed =
            "SELECT true FROM ledger.hook_runs WHERE state = 'due' AND attempts = 1 AND holder IS NULL";
        sqlx::query_scalar::<_, bool>(failed).fetch_optional(story.app.app.ledger.pool()).await.unwrap()
    })
    .await;
    let (_, view) = story.admin.get(&story.admin.crm("brand-voice/coverage")).await;
    assert_eq!((&view["messages"], &view["waiting"]), (&json!(0), &json!(1)));
    story.app.clock.advance(10_000);
    let view = story.coverage_of(1).await;
    assert_eq!((&view["uncovered"], &view["waiting"]), (&json!(1), &json!(0)));
    assert_eq!(provider.taken().len(), 2);

    // The ledger followed once more from its beginning makes no second run of it.
    sqlx::query("UPDATE ledger.followers SET position = 0")
        .execute(story.app.app.ledger.pool())
        .await
        .unwrap();
    story.issue(Channel::Whatsapp, json!({ "templateSid": "HX1", "variables": {} })).await;
    assert_eq!(story.coverage_of(2).await["uncovered"], 1);
    assert_eq!(provider.taken().len(), 2);
}

#[tokio::test]
async fn a_hook_that_is_switched_off_meanwhile_does_not_run() {
    let told = std::sync::Arc::new(tokio::sync::Notify::new());
    let answer = Act::answer(
        200,
        json!({ "choices": [{ "message": { "content": "{\"issues\":[]}" }, "finish_reason": "stop" }] }),
    );
    let Act::Raw(bytes) = answer else { unreachable!("answer makes bytes") };
    let provider = Provider::start([Act::When(told.clone(), bytes)]).await;
    let config = LanguageModelConfig {
        llm_url: Some(provider.base.clone()),
        llm_model: Some("m".into()),
        llm_key: None,
    };
    let story = Story::with_model(LanguageModel::open(&config).unwrap()).await;
    assert_eq!(story.put(COVERAGE).await.0, 200);
    story.issue(Channel::Instagram, json!({ "text": "Hello." })).await;
    eventually("the hook runs", || async { (provider.taken().len() == 1).then_some(()) }).await;
    // A reload while it runs: it comes to its end as it began, and nothing runs after it.
    assert_eq!(story.put("hooks: []\n").await.0, 200);
    told.notify_one();
    assert_eq!(story.coverage_of(1).await["uncovered"], 1);
    story.issue(Channel::Instagram, json!({ "text": "Hello again." })).await;
    story.followed().await;
    assert_eq!(story.put(COVERAGE).await.0, 200);
    story.issue(Channel::Whatsapp, json!({ "templateSid": "HX1", "variables": {} })).await;
    let view = story.coverage_of(2).await;
    assert_eq!(view["notApplicable"], 1, "{view}");
}
