//! The rules of the append, on a real database.

use std::collections::HashMap;

use docket::app::App;
use docket::clock::Clock;
use docket::ledger::{AppendError, Ledger, QueueBounds, Stream, Write};
use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::contact::{Contact, ContactEvent};
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::organization::OrganizationProfile;
use futures::future::join_all;
use proptest::prelude::*;
use sqlx::{Connection, Executor, Row};
use uuid::Uuid;

use crate::support::app::{held_clock, open, organization};
use crate::support::commands::{campaign, command, guard, request, stream, tick, ticks};
use crate::support::server::master_key;
use crate::support::{Database, eventually};

/// The ledger of one fresh organization.
struct Story {
    database: Database,
    app: App,
    organization: OrganizationId,
}

impl Story {
    async fn begin() -> Self {
        let database = Database::create().await;
        let app = open(database.options.clone(), held_clock()).await;
        let organization = organization(&app).await;
        Self { database, app, organization }
    }

    fn id(&self) -> Uuid {
        self.app.clock.mint()
    }

    fn command(&self, writes: Vec<Write>) -> docket::ledger::Command {
        command(&self.app, self.organization, writes)
    }

    async fn append(&self, writes: Vec<Write>) -> Result<docket::ledger::Appended, AppendError> {
        self.app.ledger.append(self.command(writes)).await
    }

    async fn head(&self) -> i64 {
        head(&self.app, self.organization).await
    }
}

async fn head(app: &App, organization: OrganizationId) -> i64 {
    sqlx::query_scalar("SELECT position FROM ledger.heads WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_one(app.ledger.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn events_are_numbered_in_their_ledger_and_in_their_stream() {
    let story = Story::begin().await;
    let (one, other) = (story.id(), story.id());
    let first = story.append(vec![ticks(one, 0, 2), ticks(other, 0, 1)]).await.unwrap();
    assert_eq!((first.position, first.versions, first.duplicate), (3, vec![2, 1], false));
    let second = story.append(vec![ticks(one, 2, 1)]).await.unwrap();
    assert_eq!((second.position, second.versions), (4, vec![3]));
}

#[tokio::test]
async fn a_decision_on_an_older_state_leaves_its_neighbours_alone() {
    let story = Story::begin().await;
    let streams: Vec<Uuid> = (0..20).map(|_| story.id()).collect();
    join_all(streams.iter().map(|id| story.append(vec![ticks(*id, 0, 1)]))).await;

    // Every second one is decided on a version that is gone, or that never was.
    let tries = streams.iter().enumerate().map(|(n, id)| {
        let expected = [1, 0, 1, 9][n % 4];
        story.append(vec![ticks(*id, expected, 1)])
    });
    for (n, outcome) in join_all(tries).await.into_iter().enumerate() {
        if n % 2 == 0 {
            assert_eq!(outcome.unwrap().versions, [2]);
        } else {
            assert!(matches!(outcome, Err(AppendError::Conflict)), "{n}");
        }
    }
    assert_eq!(story.head().await, 30);
}

#[tokio::test]
async fn a_command_is_refused_whole() {
    let story = Story::begin().await;
    let (one, other) = (story.id(), story.id());
    let refused = story.append(vec![ticks(one, 0, 1), ticks(other, 1, 1)]).await;
    assert!(matches!(refused, Err(AppendError::Conflict)));
    assert_eq!(story.head().await, 0);
}

#[tokio::test]
async fn a_guard_holds_a_stream_still() {
    let story = Story::begin().await;
    let (looked_at, written) = (story.id(), story.id());
    story.append(vec![ticks(looked_at, 0, 1)]).await.unwrap();
    for (version, accepted) in [(0, false), (2, false), (1, true)] {
        let mut command = story.command(vec![ticks(written, 0, 1)]);
        command.guards = vec![guard(looked_at, version)];
        assert_eq!(story.app.ledger.append(command).await.is_ok(), accepted, "{version}");
    }
}

#[tokio::test]
async fn a_slug_belongs_to_one_organization() {
    let story = Story::begin().await;
    let profile =
        OrganizationProfile { name: "A".into(), slug: "same".into(), owner_email: "a@example.com".into() };
    let create = || {
        let origin = docket::ledger::Origin::system("test");
        let (app, profile) = (story.app.clone(), profile.clone());
        async move {
            let id = app.clock.mint();
            docket::organizations::create(&app, &origin, None, id, profile, true).await
        }
    };
    let outcomes = join_all((0..8).map(|_| create())).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter_map(Result::err) {
        let docket::ledger::DecideError::Append(error) = refused else { panic!("{refused}") };
        assert!(matches!(error, AppendError::Taken(Scope::Slug)));
    }
}

#[tokio::test]
async fn what_must_be_absent_stops_a_command_and_what_is_ensured_does_not() {
    let story = Story::begin().await;
    let opt_out = |id: Uuid| Write {
        stream: Stream::of::<Contact>(id),
        expected: 0,
        events: vec![
            ContactEvent::ContactOptedOut { via: "api".into(), addresses: vec!["a1".into()] }.into(),
        ],
    };
    let send = || {
        let mut command = story.command(vec![ticks(story.id(), 0, 1)]);
        command.absent = vec![ClaimKey::new(Scope::SuppressedAddress, "a1")];
        command
    };
    story.app.ledger.append(send()).await.unwrap();
    story.append(vec![opt_out(story.id())]).await.unwrap();
    // Two contacts may share an address, and both may opt out.
    story.append(vec![opt_out(story.id())]).await.unwrap();
    let refused = story.app.ledger.append(send()).await;
    assert!(matches!(refused, Err(AppendError::Present(Scope::SuppressedAddress))));
}

#[tokio::test]
async fn a_command_asked_again_is_answered_and_not_recorded_again() {
    let story = Story::begin().await;
    let command = story.command(vec![ticks(story.id(), 0, 3)]);
    let first = story.app.ledger.append(command.clone()).await.unwrap();
    story.append(vec![ticks(story.id(), 0, 1)]).await.unwrap();
    for again in join_all((0..10).map(|_| story.app.ledger.append(command.clone()))).await {
        let again = again.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.position, &again.versions), (first.position, &first.versions));
    }
    assert_eq!(story.head().await, 4);
}

#[tokio::test]
async fn a_request_id_has_one_effect_and_one_answer() {
    let story = Story::begin().await;
    let asked = (0..50).map(|n| {
        let mut command = story.command(vec![ticks(story.id(), 0, 1)]);
        command.request = request("r-1", "{}", n);
        story.app.ledger.append(command)
    });
    let outcomes = join_all(asked).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let answers: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Err(AppendError::Replayed(stored)) => Some(stored.answer.clone()),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        })
        .collect();
    assert_eq!(answers.len(), 49);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(story.head().await, 1);

    let principal = docket::ledger::Actor::SYSTEM.principal;
    let ask =
        |input: &'static str| story.app.ledger.answered(story.organization, principal, "test", "r-1", input);
    assert_eq!(ask("{}").await.unwrap().unwrap().answer, answers[0]);
    assert!(matches!(ask("{\"n\":1}").await, Err(AppendError::RequestConflict)));
    let mut other = story.command(vec![ticks(story.id(), 0, 1)]);
    other.request = request("r-1", "{\"n\":1}", 0);
    assert!(matches!(story.app.ledger.append(other).await, Err(AppendError::RequestConflict)));

    // After seven days the id is free again.
    story.app.clock.advance(7 * 24 * 60 * 60 * 1_000);
    assert!(ask("{}").await.unwrap().is_none());
    let mut later = story.command(vec![ticks(story.id(), 0, 1)]);
    later.request = request("r-1", "{\"n\":1}", "later");
    assert_eq!(story.app.ledger.append(later).await.unwrap().position, 2);
}

#[tokio::test]
async fn the_time_of_record_never_runs_against_the_positions() {
    let story = Story::begin().await;
    for millis in [0, 60_000, -120_000, -1, 200_000] {
        story.app.clock.advance(millis);
        story.append(vec![ticks(story.id(), 0, 1)]).await.unwrap();
    }
    let rows = sqlx::query(
        "SELECT recorded_at >= lag(recorded_at) OVER (ORDER BY position), \
             occurred_at >= lag(occurred_at) OVER (ORDER BY position) \
         FROM ledger.events WHERE organization_id = $1 ORDER BY position OFFSET 1",
    )
    .bind(story.organization.uuid())
    .fetch_all(story.app.ledger.pool())
    .await
    .unwrap();
    let held: Vec<(bool, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    // The decisions' own times did run backwards.
    assert_eq!(held, [(true, true), (true, false), (true, false), (true, true)]);
    crate::auditing::assert_chain_holds(&story.app, story.organization).await;
}

#[tokio::test]
async fn nobody_changes_what_happened() {
    let story = Story::begin().await;
    story.append(vec![ticks(story.id(), 0, 1)]).await.unwrap();
    for statement in
        ["UPDATE ledger.events SET payload = '{}'", "DELETE FROM ledger.events", "TRUNCATE ledger.events"]
    {
        let error = story.app.ledger.pool().execute(statement).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("23001"), "{statement}");
    }
    assert_eq!(story.head().await, 1);
}

#[tokio::test]
async fn nothing_is_recorded_about_whoever_was_erased() {
    let story = Story::begin().await;
    let id: CampaignId = story.app.clock.mint();
    story.append(vec![campaign(id, "Spring")]).await.unwrap();
    sqlx::query("UPDATE ledger.subject_keys SET wrapped = NULL WHERE subject_id = $1")
        .bind(id.uuid())
        .execute(story.app.ledger.pool())
        .await
        .unwrap();
    // A process that does not remember the key.
    let other = open(story.database.options.clone(), held_clock()).await;
    let mut again = campaign(id, "Summer");
    again.expected = 1;
    let refused = other.ledger.append(command(&other, story.organization, vec![again])).await;
    assert!(matches!(refused, Err(AppendError::SubjectErased)));
    let seen =
        other.ledger.load::<docket_aggregates::campaign::Campaign>(story.organization, id).await.unwrap();
    assert!(seen.state.text.as_ref().unwrap().value().is_none());
}

#[tokio::test]
async fn a_process_with_another_master_key_does_not_start() {
    let story = Story::begin().await;
    let key = docket::ledger::seal::Key::random();
    let bounds = QueueBounds::default();
    let error = App::open(story.database.options.clone(), key, held_clock(), bounds).await.err().unwrap();
    assert!(error.to_string().contains("another master key"), "{error}");
}

#[tokio::test]
async fn an_organization_that_does_not_exist_has_no_ledger() {
    let story = Story::begin().await;
    let nobody = command(&story.app, OrganizationId(story.id()), vec![ticks(story.id(), 0, 1)]);
    assert!(matches!(story.app.ledger.append(nobody).await, Err(AppendError::UnknownOrganization)));
}

#[tokio::test]
async fn a_full_queue_refuses_some_and_loses_none() {
    let story = Story::begin().await;
    let bounds = QueueBounds { commands: 32, share: 24, bytes: 1 << 20 };
    let (pool, options) = (story.database.pool(), story.database.options.clone());
    let ledger = Ledger::open(pool, options, master_key(), held_clock(), bounds).await.unwrap();
    let neighbour = organization(&story.app).await;

    let mut holder = story.database.connect().await;
    let mut held = holder.begin().await.unwrap();
    held.execute("SELECT FROM ledger.heads FOR UPDATE").await.unwrap();
    // The lane takes the first one and waits for the head, so that everything after it waits in the queue.
    let first = tokio::spawn({
        let (ledger, command) = (ledger.clone(), story.command(vec![ticks(story.id(), 0, 1)]));
        async move { ledger.append(command).await }
    });
    eventually("the lane's wait for the head", || async {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock'",
        )
        .fetch_one(story.app.ledger.pool())
        .await
        .unwrap();
        (waiting > 0).then_some(())
    })
    .await;

    let waiting = (0..4 * 32).map(|n| {
        let organization = if n % 4 == 3 { neighbour } else { story.organization };
        let command = command(&story.app, organization, vec![ticks(story.id(), 0, 1)]);
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.append(command).await.map(|_| organization) })
    });
    let waiting: Vec<_> = waiting.collect();
    eventually("the refusals", || async {
        let refused = waiting.iter().filter(|task| task.is_finished()).count();
        (refused >= 2 * 32).then_some(())
    })
    .await;
    held.rollback().await.unwrap();

    assert_eq!(first.await.unwrap().unwrap().position, 1);
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    let mut recorded: HashMap<OrganizationId, i64> = HashMap::from([(story.organization, 1)]);
    for task in waiting {
        let outcome = match task.await.unwrap() {
            Ok(organization) => {
                *recorded.entry(organization).or_default() += 1;
                "recorded"
            }
            Err(AppendError::OrganizationBusy { .. } | AppendError::Overloaded { .. }) => "refused",
            Err(error) => panic!("{error}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    // What the lane has in its hands is not in the queue.
    assert!((24..=2 * 32).contains(&outcomes["recorded"]), "{outcomes:?}");
    assert!(outcomes["refused"] >= 2 * 32, "{outcomes:?}");
    for (organization, count) in recorded {
        assert_eq!(head(&story.app, organization).await, count);
    }
}

#[tokio::test]
async fn a_crowd_that_is_read_ahead_sees_what_was_being_written_meanwhile() {
    let story = Story::begin().await;
    let (stream, suppressed) = (story.id(), "a1");
    let opt_out = ContactEvent::ContactOptedOut { via: "api".into(), addresses: vec![suppressed.into()] };
    let opt_out =
        Write { stream: Stream::of::<Contact>(story.id()), expected: 0, events: vec![opt_out.into()] };
    let mut first = story.command(vec![ticks(stream, 0, 1), opt_out]);
    first.request = request("r-1", "{}", "first");
    let append = |command| {
        let ledger = story.app.ledger.clone();
        tokio::spawn(async move { ledger.append(command).await })
    };
    let asleep = |what: &'static str, condition: &'static str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
        );
        let pool = story.app.ledger.pool();
        eventually(what, move || {
            let sql = sql.clone();
            async move {
                let count: i64 = sqlx::query_scalar(&sql).fetch_one(pool).await.unwrap();
                (count > 0).then_some(())
            }
        })
    };

    // Whoever writes waits for this lock, and whoever reads does not.
    let mut holder = story.database.connect().await;
    let mut held = holder.begin().await.unwrap();
    held.execute("LOCK TABLE ledger.events IN SHARE MODE").await.unwrap();
    let written = append(first.clone());
    asleep("the wait of the first write", "wait_event_type = 'Lock'").await;

    let late = append(story.command(vec![ticks(stream, 0, 1)]));
    let current = append(story.command(vec![ticks(stream, 1, 1)]));
    let again = append(first);
    let mut same_request = story.command(vec![ticks(story.id(), 0, 1)]);
    same_request.request = request("r-1", "{}", "second");
    let same_request = append(same_request);
    let mut to_suppressed = story.command(vec![ticks(story.id(), 0, 1)]);
    to_suppressed.absent = vec![ClaimKey::new(Scope::SuppressedAddress, suppressed)];
    let to_suppressed = append(to_suppressed);
    let crowd: Vec<_> = (0..70).map(|_| append(story.command(vec![ticks(story.id(), 0, 1)]))).collect();
    let read_ahead =
        "application_name = 'docket-append-ahead' AND state = 'idle' AND query LIKE '%ledger.heads%'";
    asleep("the reading ahead", read_ahead).await;
    held.rollback().await.unwrap();

    let written = written.await.unwrap().unwrap();
    assert_eq!(written.position, 2);
    assert!(matches!(late.await.unwrap(), Err(AppendError::Conflict)));
    assert_eq!(current.await.unwrap().unwrap().versions, [2]);
    let again = again.await.unwrap().unwrap();
    assert!(again.duplicate && again.position == written.position);
    assert!(matches!(same_request.await.unwrap(), Err(AppendError::Replayed(_))));
    let refused = to_suppressed.await.unwrap();
    assert!(matches!(refused, Err(AppendError::Present(Scope::SuppressedAddress))), "{refused:?}");
    for one in join_all(crowd).await {
        one.unwrap().unwrap();
    }
    assert_eq!(crate::auditing::assert_chain_holds(&story.app, story.organization).await, 2 + 1 + 70);
}

#[tokio::test]
async fn two_processes_on_one_database_are_as_good_as_one() {
    let story = Story::begin().await;
    let other = open(story.database.options.clone(), held_clock()).await;
    let neighbour = organization(&story.app).await;
    let streams: Vec<Uuid> = (0..10).map(|_| story.id()).collect();
    // Both processes race for each version of each stream of two organizations.
    for version in 0..8 {
        let racing = streams.iter().enumerate().flat_map(|(n, id)| {
            let organization = if n % 2 == 0 { story.organization } else { neighbour };
            [&story.app, &other].map(|app| {
                let command = command(app, organization, vec![ticks(*id, version, 1)]);
                app.ledger.append(command)
            })
        });
        let outcomes = join_all(racing).await;
        for pair in outcomes.chunks(2) {
            let won = pair.iter().filter(|outcome| outcome.is_ok()).count();
            let lost = pair.iter().filter(|outcome| matches!(outcome, Err(AppendError::Conflict))).count();
            assert_eq!((won, lost), (1, 1), "{pair:?}");
        }
    }
    for organization in [story.organization, neighbour] {
        assert_eq!(head(&story.app, organization).await, 40);
        crate::auditing::assert_chain_holds(&story.app, organization).await;
    }
}

/// One command of a random story: in which organization, on which stream, on which guess of its version.
#[derive(Clone, Debug)]
struct Move {
    organization: usize,
    stream: usize,
    expected: u64,
    events: usize,
    process: usize,
}

fn moves() -> impl Strategy<Value = Vec<Vec<Move>>> {
    let one = (0..3_usize, 0..3_usize, 0..4_u64, 1..4_usize, 0..2_usize).prop_map(
        |(organization, stream, expected, events, process)| Move {
            organization,
            stream,
            expected,
            events,
            process,
        },
    );
    prop::collection::vec(prop::collection::vec(one, 1..12), 1..6)
}

#[test]
fn positions_are_dense_and_chained_whatever_happens_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (story, other) = runtime.block_on(async {
        let story = Story::begin().await;
        let other = open(story.database.options.clone(), held_clock()).await;
        (story, other)
    });
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(rounds in moves())| {
        runtime.block_on(happens(&story.app, &other, rounds));
    });
    // The lanes end with the runtime that they began in.
    drop((story, other));
}

async fn happens(app: &App, other: &App, rounds: Vec<Vec<Move>>) {
    let organizations = [organization(app).await, organization(app).await, organization(app).await];
    let streams: [[Uuid; 3]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| app.clock.mint()));
    let mut versions: HashMap<Uuid, u64> = HashMap::new();
    let mut recorded = [0_i64; 3];
    for round in rounds {
        let racing = round.iter().map(|one| {
            let app = [app, other][one.process];
            let id = streams[one.organization][one.stream];
            let write = ticks(id, one.expected, one.events);
            app.ledger.append(command(app, organizations[one.organization], vec![write]))
        });
        for (one, outcome) in round.iter().zip(join_all(racing).await) {
            match outcome {
                Ok(appended) => {
                    let version = versions.entry(streams[one.organization][one.stream]).or_default();
                    *version = (*version).max(appended.versions[0]);
                    recorded[one.organization] += one.events as i64;
                }
                Err(AppendError::Conflict) => (),
                Err(error) => panic!("{error}"),
            }
        }
    }
    for (n, organization) in organizations.into_iter().enumerate() {
        let chained = crate::auditing::assert_chain_holds(app, organization).await;
        assert_eq!(chained, recorded[n]);
        for id in streams[n] {
            let stored =
                docket::ledger::read::stream(app.ledger.pool(), organization, stream(id), 0).await.unwrap();
            assert_eq!(stored.len() as u64, versions.get(&id).copied().unwrap_or(0));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_its_neighbours_are_recorded() {
    let story = Story::begin().await;
    let good = (0..5).map(|_| story.append(vec![ticks(story.id(), 0, 1)]));
    let bad = ["NUL \u{0} in a text"].map(|name| story.append(vec![campaign(story.app.clock.mint(), name)]));
    let (good, bad) = (join_all(good), join_all(bad));
    let (good, bad) = futures::future::join(good, bad).await;
    assert!(good.iter().all(Result::is_ok));
    assert!(bad.iter().all(|outcome| matches!(outcome, Err(AppendError::Unstorable(_)))));
    assert_eq!(story.head().await, 5);
}

/// Holds an organization's head, as a process that stopped in the middle of its append.
async fn hold<'c>(
    holder: &'c mut sqlx::PgConnection,
    organization: OrganizationId,
) -> sqlx::Transaction<'c, sqlx::Postgres> {
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM ledger.heads WHERE organization_id = $1 FOR UPDATE")
        .bind(organization.uuid())
        .execute(&mut *held)
        .await
        .unwrap();
    held
}

#[tokio::test]
async fn a_held_organization_does_not_hold_up_the_others() {
    let story = Story::begin().await;
    let neighbour = organization(&story.app).await;
    let mut holder = story.database.connect().await;
    let held = hold(&mut holder, story.organization).await;
    let blocked = tokio::spawn({
        let (ledger, command) = (story.app.ledger.clone(), story.command(vec![ticks(story.id(), 0, 1)]));
        async move { ledger.append(command).await }
    });
    for position in 1..=5 {
        let free = command(&story.app, neighbour, vec![ticks(story.id(), 0, 1)]);
        assert_eq!(story.app.ledger.append(free).await.unwrap().position, position);
    }
    assert!(!blocked.is_finished());
    held.rollback().await.unwrap();
    assert_eq!(blocked.await.unwrap().unwrap().position, 1);
}

#[tokio::test]
async fn a_command_whose_organization_stays_held_is_refused_and_not_recorded() {
    let story = Story::begin().await;
    let mut holder = story.database.connect().await;
    let held = hold(&mut holder, story.organization).await;
    let refused = story.append(vec![ticks(story.id(), 0, 1)]).await;
    assert!(matches!(refused, Err(AppendError::OrganizationBusy { .. })), "{refused:?}");
    held.rollback().await.unwrap();
    assert_eq!(story.append(vec![ticks(story.id(), 0, 1)]).await.unwrap().position, 1);
}

#[tokio::test]
async fn a_sealed_value_comes_back_as_it_was() {
    let story = Story::begin().await;
    let id: CampaignId = story.app.clock.mint();
    let name = "Ünïcödé \u{1f600} \"quoted\" \\ back\u{7f}\u{1}";
    story.append(vec![campaign(id, name)]).await.unwrap();
    let other = open(story.database.options.clone(), Clock::system()).await;
    let seen =
        other.ledger.load::<docket_aggregates::campaign::Campaign>(story.organization, id).await.unwrap();
    assert_eq!(seen.state.text.as_ref().unwrap().value().unwrap().name, name);
}

#[test]
fn a_tick_is_known_to_this_version() {
    // What the other tests rest on: the smallest event is a stored one.
    let event = tick();
    assert!(docket_aggregates::AnyEvent::stored().contains(&(
        event.aggregate_type(),
        event.event_type(),
        event.event_version()
    )));
}

/// A plan is made when a connection asks for the first time, of an empty table here, and kept: whatever it looked like
/// then, every look-up must go by its own key for ever.
#[tokio::test]
async fn the_append_asks_by_its_keys_from_the_first_command_on() {
    let story = Story::begin().await;
    let streams: Vec<Uuid> = (0..60).map(|_| story.id()).collect();
    for round in 0..4 {
        let commands = streams.iter().enumerate().map(|(n, id)| {
            let mut command = story.command(vec![ticks(*id, round, 1)]);
            command.request = request(&format!("r-{round}-{n}"), "{}", n);
            story.app.ledger.append(command)
        });
        for outcome in join_all(commands).await {
            outcome.unwrap();
        }
    }
    // What a process has counted is told at the latest when it goes.
    story.app.close().await;
    let pool = story.database.pool();
    let read = eventually("the counts", || async {
        let read: Vec<(String, i64)> = sqlx::query_as(
            "SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = 'ledger' \
                 AND relname IN ('events', 'requests')",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        let read: HashMap<String, i64> = read.into_iter().collect();
        let versions = read["events_organization_id_aggregate_type_aggregate_id_sequence_key"];
        (versions >= 3 * 60).then_some((versions, read))
    })
    .await;
    let (versions, read) = read;
    assert!(versions <= 2 * 3 * 60, "one entry for each look-up: {read:?}");
    for not_asked in ["events_pkey", "events_by_command", "requests_by_command"] {
        assert_eq!(read[not_asked], 0, "{read:?}");
    }
}
