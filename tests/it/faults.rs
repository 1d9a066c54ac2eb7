//! What a broken connection to PostgreSQL leaves behind: one effect, or none, and always an honest answer.

use docket::app::App;
use docket::ledger::AppendError;
use docket_aggregates::ids::OrganizationId;

use crate::auditing::assert_chain_holds;
use crate::support::app::{held_clock, open, organization};
use crate::support::commands::{command, request, ticks};
use crate::support::proxy::{Cut, Proxy};
use crate::support::{Database, eventually};

/// A product behind a wire that can be cut.
struct Wired {
    proxy: Proxy,
    app: App,
    organization: OrganizationId,
    /// The same database, reached directly.
    direct: App,
    _database: Database,
}

impl Wired {
    async fn begin() -> Self {
        let database = Database::create().await;
        let direct = open(database.options.clone(), held_clock()).await;
        let proxy = Proxy::to(&database).await;
        let app = open(proxy.options.clone(), held_clock()).await;
        let organization = organization(&app).await;
        Self { proxy, app, organization, direct, _database: database }
    }

    fn one(&self) -> docket::ledger::Command {
        command(&self.app, self.organization, vec![ticks(self.app.clock.mint(), 0, 1)])
    }
}

#[tokio::test]
async fn a_connection_cut_around_the_commit_has_one_effect() {
    let wired = Wired::begin().await;
    let mut recorded = 0;
    for (cut, times) in
        [(Cut::BeforeCommit, 1), (Cut::AfterCommit, 1), (Cut::BeforeCommit, 3), (Cut::AfterCommit, 3)]
    {
        let cuts = wired.proxy.cuts();
        wired.proxy.cut(cut, times);
        let mut last = None;
        // A commit that came through is not made again: each of these needs a command of its own to be met.
        while wired.proxy.cuts() < cuts + times {
            let mut command = wired.one();
            command.request = request(&format!("{cut:?}-{times}-{recorded}"), "{}", recorded);
            let appended = wired.app.ledger.append(command.clone()).await.unwrap();
            recorded += 1;
            assert_eq!(appended.position, recorded, "{cut:?}");
            last = Some(command);
        }
        // Whoever asks again gets the first answer.
        let again = wired.app.ledger.append(last.unwrap()).await.unwrap();
        assert_eq!((again.position, again.duplicate), (recorded, true));
    }
    assert_eq!(assert_chain_holds(&wired.direct, wired.organization).await, recorded);
}

#[tokio::test]
async fn a_batch_that_was_cut_off_is_recorded_once() {
    let wired = Wired::begin().await;
    for cut in [Cut::BeforeCommit, Cut::AfterCommit] {
        wired.proxy.cut(cut, 1);
        let commands: Vec<_> = (0..40).map(|_| wired.one()).collect();
        let outcomes =
            futures::future::join_all(commands.iter().map(|one| wired.app.ledger.append(one.clone()))).await;
        assert!(outcomes.iter().all(Result::is_ok), "{cut:?}");
    }
    assert_eq!(assert_chain_holds(&wired.direct, wired.organization).await, 80);
}

#[tokio::test]
async fn while_the_database_is_away_the_outcome_is_unknown_and_afterwards_known() {
    // Both wait ten seconds until they give up; they do so together.
    futures::future::join(gives_up(Cut::BeforeCommit, false), gives_up(Cut::AfterCommit, true)).await;
}

async fn gives_up(cut: Cut, came_through: bool) {
    let wired = Wired::begin().await;
    wired.proxy.stay_away_after_cut();
    wired.proxy.cut(cut, 1);
    let command = wired.one();
    let error = wired.app.ledger.append(command.clone()).await.unwrap_err();
    assert!(matches!(error, AppendError::OutcomeUnknown(id) if id == command.id), "{error}");
    let head = assert_chain_holds(&wired.direct, wired.organization).await;
    assert_eq!(head, i64::from(came_through), "{cut:?}");

    wired.proxy.come_back();
    let known =
        eventually("the answer", || async { wired.app.ledger.append(command.clone()).await.ok() }).await;
    assert_eq!((known.position, known.duplicate), (1, came_through));
    assert_eq!(assert_chain_holds(&wired.direct, wired.organization).await, 1);
}
