//! What a run through a script refuses and records, as given, when, then.

use cqrs_es::test::TestFramework;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::script_template::samples::sample;

type Given = TestFramework<ScriptExecution>;
const ID: ScriptExecutionId = ScriptExecutionId(Uuid::from_u128(1));
const STAY: Stay =
    Stay { campaign_id: CampaignId(Uuid::from_u128(2)), contact_id: ContactId(Uuid::from_u128(3)), epoch: 4 };
const TEMPLATE: ScriptTemplateId = ScriptTemplateId(Uuid::from_u128(5));

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn start() -> ScriptExecutionCommand {
    ScriptExecutionCommand::Start {
        execution_id: ID,
        stay: STAY,
        agent_id: None,
        script_template_id: TEMPLATE,
        script_template_version: 2,
        at: at(10),
    }
}

fn started() -> ScriptExecutionEvent {
    ScriptExecutionEvent::ScriptExecutionStarted {
        execution_id: ID,
        campaign_id: STAY.campaign_id,
        contact_id: STAY.contact_id,
        epoch: STAY.epoch,
        agent_id: None,
        script_template_id: TEMPLATE,
        script_template_version: 2,
        started_at: at(10),
    }
}

fn record(answers: &[(&str, Value)], status: ExecutionStatus) -> ScriptExecutionCommand {
    ScriptExecutionCommand::Record {
        steps: Arc::new(sample().steps),
        given: answers
            .iter()
            .map(|(id, value)| GivenAnswer { node_id: (*id).into(), value: value.clone() })
            .collect(),
        mode: AnswerMode::Merge,
        status,
        at: at(20),
    }
}

fn recorded(answers: &[(&str, Option<&str>)]) -> ScriptExecutionEvent {
    let answers =
        answers.iter().map(|(id, value)| Answer { node_id: (*id).into(), value: value.map(str::to_owned) });
    ScriptExecutionEvent::ScriptAnswersRecorded {
        answered_at: at(20),
        answers: Personal::known(STAY.contact_id.uuid(), answers.collect()),
    }
}

fn completed() -> ScriptExecutionEvent {
    ScriptExecutionEvent::ScriptExecutionCompleted {
        campaign_id: STAY.campaign_id,
        contact_id: STAY.contact_id,
        completed_at: at(20),
    }
}

fn ended(because: &str) -> ScriptExecutionEvent {
    abandoned(
        Begun {
            campaign_id: STAY.campaign_id,
            contact_id: STAY.contact_id,
            epoch: STAY.epoch,
            agent_id: None,
            script_template_id: TEMPLATE,
            script_template_version: 2,
            started_at: at(10),
        },
        at(20),
        because,
    )
}

use ExecutionStatus::{Abandoned, Completed, InProgress};

#[test]
fn an_execution_starts_once() {
    Given::with(()).given_no_previous_events().when(start()).then_expect_events(vec![started()]);
    Given::with(())
        .given(vec![started()])
        .when(start())
        .then_expect_error(ScriptExecutionError::AlreadyStarted);
    Given::with(())
        .given_no_previous_events()
        .when(record(&[], InProgress))
        .then_expect_error(ScriptExecutionError::Unknown);
}

#[test]
fn only_what_differs_is_recorded() {
    let answer = || record(&[("owner", json!("Oui"))], InProgress);
    Given::with(())
        .given(vec![started()])
        .when(answer())
        .then_expect_events(vec![recorded(&[("owner", Some("Oui"))])]);
    Given::with(())
        .given(vec![started(), recorded(&[("owner", Some("Oui"))])])
        .when(answer())
        .then_expect_events(vec![]);
}

#[test]
fn null_takes_an_answer_back() {
    Given::with(())
        .given(vec![started(), recorded(&[("owner", Some("Oui"))])])
        .when(record(&[("owner", json!(null))], InProgress))
        .then_expect_events(vec![recorded(&[("owner", None)])]);
}

#[test]
fn an_earlier_answer_that_changes_leaves_the_later_ones_in_history() {
    let before = vec![started(), recorded(&[("owner", Some("Oui")), ("budget", Some("1 000"))])];
    Given::with(())
        .given(before.clone())
        .when(record(&[("owner", json!("Non"))], InProgress))
        .then_expect_events(vec![recorded(&[("owner", Some("Non"))])]);
    let mut execution = ScriptExecution::default();
    before.into_iter().chain([recorded(&[("owner", Some("Non"))])]).for_each(|event| execution.evolve(event));
    let steps = sample().steps;
    assert!(execution.path(&steps).iter().all(|step| step.id != "budget"));
    assert_eq!(execution.answers["budget"].value, "1 000");
}

#[test]
fn what_is_required_on_the_path_is_answered_before_the_end() {
    let missing =
        |ids: &[&str]| ScriptExecutionError::RequiredUnanswered(ids.iter().map(|id| (*id).into()).collect());
    for (answers, refusal) in [
        (vec![], Some(missing(&["owner"]))),
        (vec![("owner", json!("Oui"))], Some(missing(&["budget"]))),
        // On the other branch nothing is required.
        (vec![("owner", json!("Non"))], None),
        (vec![("owner", json!("Oui")), ("budget", json!("1 000"))], None),
    ] {
        let given = Given::with(()).given(vec![started()]).when(record(&answers, Completed));
        match refusal {
            Some(refusal) => given.then_expect_error(refusal),
            None => assert_eq!(given.inspect_result().unwrap().last(), Some(&completed()), "{answers:?}"),
        }
    }
    Given::with(())
        .given(vec![started()])
        .when(record(&[], Abandoned))
        .then_expect_events(vec![ended("requested")]);
}

#[test]
fn what_ended_takes_no_more_answers() {
    for (end, status) in [(completed(), Completed), (ended("requested"), Abandoned)] {
        for order in [
            record(&[("owner", json!("Oui"))], InProgress),
            record(&[], Completed),
            ScriptExecutionCommand::Supersede { at: at(20) },
        ] {
            Given::with(())
                .given(vec![started(), end.clone()])
                .when(order)
                .then_expect_error(ScriptExecutionError::Closed(status));
        }
    }
}

#[test]
fn a_run_of_an_earlier_stay_is_given_up() {
    Given::with(())
        .given(vec![started()])
        .when(ScriptExecutionCommand::Supersede { at: at(20) })
        .then_expect_events(vec![ended("stay_over")]);
}

#[test]
fn answers_that_do_not_fit_are_all_told() {
    let error = Given::with(())
        .given(vec![started()])
        .when(record(&[("owner", json!("oui")), ("nobody", json!("x"))], Completed))
        .inspect_result()
        .unwrap_err();
    let ScriptExecutionError::InvalidAnswers(faults) = error else { panic!("{error}") };
    assert_eq!(faults.len(), 2);
}

#[test]
fn answers_of_somebody_erased_are_not_known() {
    let erased = ScriptExecutionEvent::ScriptAnswersRecorded {
        answered_at: at(20),
        answers: Personal::erased(STAY.contact_id.uuid()),
    };
    let mut execution = ScriptExecution::default();
    [started(), erased].into_iter().for_each(|event| execution.evolve(event));
    assert_eq!(execution.answers, BTreeMap::new());
}
