use cqrs_es::test::TestFramework;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::any::AnyEvent;
use crate::claims::{ClaimChange, ClaimKey, changes_of};
use crate::ids::{CampaignId, ContactId};
use crate::qualification_template::{Answer, FieldType, FormField, ScoreRule, ScoreTest, Scoring};

type Given = TestFramework<Qualification>;
const ID: QualificationId = QualificationId(Uuid::from_u128(9));
const TEMPLATE: QualificationTemplateId = QualificationTemplateId(Uuid::from_u128(8));
const STAY: Stay =
    Stay { campaign_id: CampaignId(Uuid::from_u128(1)), contact_id: ContactId(Uuid::from_u128(2)), epoch: 4 };

fn pinned(version: u64) -> Pinned {
    let field = |key: &str, kind, required| FormField {
        key: key.into(),
        label: key.into(),
        kind,
        required,
        options: vec![],
        min: None,
        max: None,
        max_length: None,
        pattern: None,
        maps_from_script_node_id: None,
    };
    let form = QualificationForm {
        name: "Heating".into(),
        description: None,
        fields: vec![field("owner", FieldType::Boolean, true), field("remark", FieldType::Text, false)],
        scoring: Some(Scoring {
            rules: vec![ScoreRule {
                key: "owner".into(),
                test: ScoreTest::Equals(Answer::Boolean(true)),
                points: 10,
            }],
            qualify_threshold: 10,
        }),
    };
    Pinned { template_id: TEMPLATE, version, form: Arc::new(form) }
}

fn answers(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn open(given: Value, status: QualificationStatus) -> QualificationCommand {
    QualificationCommand::Open {
        qualification_id: ID,
        stay: STAY,
        agent_id: None,
        pinned: pinned(3),
        script_execution_id: None,
        answers: answers(given),
        status,
        notes: None,
        provenance: None,
    }
}

fn record(owner: Option<bool>) -> Personal<QualificationRecord> {
    let record = QualificationRecord {
        answers: owner.map(|owner| ("owner".into(), Answer::Boolean(owner))).into_iter().collect(),
        notes: None,
        score: Some(if owner == Some(true) { 10 } else { 0 }),
        payload_sha256: None,
    };
    Personal::known(STAY.contact_id.uuid(), record)
}

fn opened(owner: Option<bool>) -> QualificationEvent {
    QualificationEvent::QualificationOpened {
        qualification_id: ID,
        campaign_id: STAY.campaign_id,
        contact_id: STAY.contact_id,
        epoch: 4,
        agent_id: None,
        template_id: TEMPLATE,
        template_version: 3,
        script_execution_id: None,
        record: record(owner),
        by_model: None,
    }
}

fn concluded(verdict: QualificationStatus) -> QualificationEvent {
    let Stay { campaign_id, contact_id, epoch } = STAY;
    QualificationEvent::QualificationConcluded { campaign_id, contact_id, epoch, verdict, by_model: None }
}

fn overturned(verdict: QualificationStatus) -> QualificationEvent {
    QualificationEvent::QualificationOverturned { stay: Some(STAY), verdict, by_model: None }
}

fn by_model() -> ByModel {
    ByModel { model: "m".into(), endpoint: "models.example".into() }
}

/// The same command as a model's.
fn of_model(command: QualificationCommand) -> QualificationCommand {
    let provenance = Some(Provenance { by_model: by_model(), payload_sha256: "ab".into() });
    match command {
        QualificationCommand::Change(patch) => {
            QualificationCommand::Change(Box::new(QualificationPatch { provenance, ..*patch }))
        }
        QualificationCommand::Open { .. } => panic!("that is no change"),
    }
}

/// The state after these commands.
fn after(commands: Vec<QualificationCommand>) -> Qualification {
    commands.into_iter().fold(Qualification::default(), |mut state, command| {
        state.decide(command).unwrap().into_iter().for_each(|event| state.evolve(event));
        state
    })
}

fn reopened() -> QualificationEvent {
    let Stay { campaign_id, contact_id, epoch } = STAY;
    QualificationEvent::QualificationReopened { campaign_id, contact_id, epoch }
}

fn change(given: Value, status: Option<QualificationStatus>) -> QualificationCommand {
    QualificationCommand::Change(Box::new(QualificationPatch {
        pinned: pinned(3),
        answers: answers(given),
        status,
        notes: None,
        script_execution_id: None,
        provenance: None,
    }))
}

fn fault_codes(error: QualificationError) -> Vec<(String, &'static str)> {
    match error {
        QualificationError::Answers(faults) => {
            faults.into_iter().map(|fault| (fault.path, fault.code)).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_draft_may_leave_out_what_a_verdict_may_not() {
    use QualificationStatus as S;
    Given::with(())
        .given_no_previous_events()
        .when(open(json!({}), S::Draft))
        .then_expect_events(vec![opened(None)]);
    Given::with(())
        .given_no_previous_events()
        .when(open(json!({}), S::NotQualified))
        .then_expect_events(vec![opened(None), concluded(S::NotQualified)]);
    Given::with(())
        .given_no_previous_events()
        .when(open(json!({ "owner": true }), S::Qualified))
        .then_expect_events(vec![opened(Some(true)), concluded(S::Qualified)]);
    let refused = Qualification::default().decide(open(json!({}), S::Qualified)).unwrap_err();
    assert_eq!(fault_codes(refused), [("owner".to_owned(), "REQUIRED")]);
}

#[test]
fn every_answer_that_does_not_fit_is_told() {
    let given = json!({ "owner": "yes", "remark": 1, "colour": "red" });
    let refused = Qualification::default().decide(open(given, QualificationStatus::Draft)).unwrap_err();
    let mut codes: Vec<_> = fault_codes(refused).into_iter().map(|(_, code)| code).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["UNKNOWN_FIELD", "WRONG_TYPE", "WRONG_TYPE"]);
}

#[test]
fn a_qualification_begins_once() {
    Given::with(())
        .given(vec![opened(None)])
        .when(open(json!({}), QualificationStatus::Draft))
        .then_expect_error(QualificationError::AlreadyOpened);
    Given::with(())
        .given_no_previous_events()
        .when(change(json!({}), None))
        .then_expect_error(QualificationError::Unknown);
}

#[test]
fn a_change_records_only_what_differs() {
    use QualificationStatus as S;
    let answered = |owner| QualificationEvent::QualificationAnswered {
        record: record(owner),
        script_execution_id: None,
        by_model: None,
        confirmed: None,
    };
    for (given, status, expected) in [
        (json!({}), None, vec![]),
        (json!({ "owner": true }), None, vec![]),
        (json!({ "owner": true }), Some(S::Draft), vec![]),
        (json!({ "owner": false }), None, vec![answered(Some(false))]),
        (json!({ "owner": null }), None, vec![answered(None)]),
        (json!({}), Some(S::Qualified), vec![concluded(S::Qualified)]),
        (json!({ "owner": null }), Some(S::NotQualified), vec![answered(None), concluded(S::NotQualified)]),
    ] {
        Given::with(())
            .given(vec![opened(Some(true))])
            .when(change(given, status))
            .then_expect_events(expected);
    }
}

#[test]
fn a_verdict_may_be_overturned_and_the_matter_reopened() {
    use QualificationStatus as S;
    let decided = || vec![opened(Some(true)), concluded(S::Qualified)];
    Given::with(())
        .given(decided())
        .when(change(json!({}), Some(S::NotQualified)))
        .then_expect_events(vec![overturned(S::NotQualified)]);
    Given::with(())
        .given(decided())
        .when(change(json!({}), Some(S::Draft)))
        .then_expect_events(vec![reopened()]);
    // What is qualified keeps every required answer.
    let mut state = Qualification::default();
    decided().into_iter().for_each(|event| state.evolve(event));
    let refused = state.decide(change(json!({ "owner": null }), None)).unwrap_err();
    assert_eq!(fault_codes(refused), [("owner".to_owned(), "REQUIRED")]);
}

#[test]
fn a_record_stays_under_its_version() {
    let QualificationCommand::Change(mut patch) = change(json!({ "owner": false }), None) else {
        panic!("that is a change")
    };
    patch.pinned = pinned(4);
    Given::with(())
        .given(vec![opened(Some(true))])
        .when(QualificationCommand::Change(patch))
        .then_expect_error(QualificationError::OtherVersion);
}

#[test]
fn what_a_model_says_again_is_recorded_again() {
    let QualificationCommand::Change(mut patch) = change(json!({ "owner": true }), None) else {
        panic!("that is a change")
    };
    let by_model = ByModel { model: "m".into(), endpoint: "models.example".into() };
    patch.provenance = Some(Provenance { by_model: by_model.clone(), payload_sha256: "ab".into() });
    let mut state = Qualification::default();
    state.evolve(opened(Some(true)));
    let events = state.decide(QualificationCommand::Change(patch)).unwrap();
    events.into_iter().for_each(|event| state.evolve(event));
    assert_eq!(state.by_model(), Some(&by_model));
    assert_eq!(state.record().and_then(|record| record.payload_sha256.as_deref()), Some("ab"));
}

#[test]
fn each_answer_is_its_own_authors() {
    let mut state = Qualification::default();
    let say = |state: &mut Qualification, given: Value, notes: Option<&str>, by_model: bool| {
        let QualificationCommand::Change(mut patch) = change(given, None) else { panic!("that is a change") };
        patch.notes = notes.map(|notes| Some(notes.to_owned()));
        patch.provenance = by_model.then(|| Provenance {
            by_model: ByModel { model: "m".into(), endpoint: "models.example".into() },
            payload_sha256: "ab".into(),
        });
        let events = state.decide(QualificationCommand::Change(patch)).unwrap();
        events.into_iter().for_each(|event| state.evolve(event));
        let of_people: Vec<String> = state.settled_by_people().into_iter().collect();
        (of_people, state.notes_settled_by_a_person())
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    state.evolve(opened(Some(false)));
    for (given, notes, by_model, expected) in [
        (json!({}), Some("mine"), false, (keys(&["owner"]), true)),
        // A model adds, and repeats what a person answered.
        (json!({ "owner": false, "remark": "a" }), None, true, (keys(&["owner"]), true)),
        (json!({ "remark": "b" }), None, true, (keys(&["owner"]), true)),
        // A person corrects the model, and then takes the answer away.
        (json!({ "remark": "c" }), None, false, (keys(&["owner", "remark"]), true)),
        (json!({ "remark": null }), None, false, (keys(&["owner", "remark"]), true)),
        // Should a model fill it all the same, it is the model's.
        (json!({ "remark": "d" }), Some("the model's"), true, (keys(&["owner"]), false)),
        (json!({}), Some("mine again"), false, (keys(&["owner"]), true)),
    ] {
        assert_eq!(say(&mut state, given.clone(), notes, by_model), expected, "{given} {notes:?}");
    }
}

#[test]
fn an_erased_record_takes_no_changes() {
    let QualificationEvent::QualificationOpened { .. } = opened(None) else { return };
    let mut erased = opened(None);
    if let QualificationEvent::QualificationOpened { record, .. } = &mut erased {
        *record = Personal::erased(STAY.contact_id.uuid());
    }
    Given::with(())
        .given(vec![erased])
        .when(change(json!({ "owner": true }), None))
        .then_expect_error(QualificationError::Erased);
}

#[test]
fn an_open_one_is_claimed_and_a_verdict_releases_it() {
    let claims = |event: QualificationEvent| changes_of(&AnyEvent::Qualification(event), ID.uuid());
    let key = ClaimKey::open_qualification(STAY.campaign_id, STAY.contact_id);
    let judged = ClaimKey::judged_by_person(STAY);
    assert_eq!(claims(opened(None)), [ClaimChange::Take(key.clone(), ID.uuid())]);
    assert_eq!(
        claims(reopened()),
        [ClaimChange::Release(judged.clone()), ClaimChange::Take(key.clone(), ID.uuid())]
    );
    assert_eq!(
        claims(concluded(QualificationStatus::Qualified)),
        [ClaimChange::Release(key.clone()), ClaimChange::Ensure(judged.clone(), ID.uuid())]
    );
    // Whoever overturns a verdict does not hold the claim: another one may be open meanwhile.
    let overturned = overturned(QualificationStatus::Qualified);
    assert_eq!(claims(overturned), [ClaimChange::Ensure(judged, ID.uuid())]);
    // A contact that was taken out and put in again is judged anew.
    assert_ne!(
        ClaimKey::judged_by_person(STAY),
        ClaimKey::judged_by_person(Stay { epoch: STAY.epoch + 1, ..STAY })
    );
}

#[test]
fn a_model_s_verdict_is_no_persons() {
    use QualificationStatus as S;
    let judged = ClaimKey::judged_by_person(STAY);
    let ensured = |state: &Qualification, command: QualificationCommand| {
        let events = state.decide(command).unwrap();
        let changes =
            events.into_iter().flat_map(|event| changes_of(&AnyEvent::Qualification(event), ID.uuid()));
        changes.filter(|change| *change == ClaimChange::Ensure(judged.clone(), ID.uuid())).count()
    };
    let draft = after(vec![open(json!({ "owner": true }), S::Draft)]);
    assert_eq!(ensured(&draft, change(json!({}), Some(S::Qualified))), 1);
    assert_eq!(ensured(&draft, of_model(change(json!({}), Some(S::Qualified)))), 0);
    let decided = after(vec![
        open(json!({ "owner": true }), S::Draft),
        of_model(change(json!({}), Some(S::Qualified))),
    ]);
    for (status, expected) in
        [(None, 0), (Some(S::Qualified), 1), (Some(S::NotQualified), 1), (Some(S::Draft), 0)]
    {
        assert_eq!(ensured(&decided, change(json!({}), status)), expected, "{status:?}");
    }
}

#[test]
fn a_conversation_is_that_of_the_record_that_named_it_first() {
    let conversation = ScriptExecutionId(Uuid::from_u128(7));
    let key = ClaimKey::qualified_conversation(conversation);
    let mut named = opened(None);
    if let QualificationEvent::QualificationOpened { script_execution_id, .. } = &mut named {
        *script_execution_id = Some(conversation);
    }
    let answered = QualificationEvent::QualificationAnswered {
        record: record(None),
        script_execution_id: Some(conversation),
        by_model: None,
        confirmed: None,
    };
    for event in [named, answered] {
        let changes = changes_of(&AnyEvent::Qualification(event), ID.uuid());
        assert!(changes.contains(&ClaimChange::Ensure(key.clone(), ID.uuid())));
    }
}

#[test]
fn what_a_person_confirms_is_the_persons() {
    use QualificationStatus as S;
    let noted = |command: QualificationCommand, notes: Option<&str>| match command {
        QualificationCommand::Change(patch) => QualificationCommand::Change(Box::new(QualificationPatch {
            notes: Some(notes.map(str::to_owned)),
            ..*patch
        })),
        other => other,
    };
    let by_the_model = |status| {
        let said = noted(of_model(change(json!({ "owner": true }), Some(status))), Some("the model's"));
        after(vec![open(json!({}), S::Draft), said])
    };
    let confirmed = |answers: &[&str], notes, verdict| {
        let answers = answers.iter().map(|key| (*key).to_owned()).collect();
        Some(Confirmed { answers, notes, verdict })
    };
    for (status, command, expected) in [
        (S::Draft, change(json!({ "owner": true }), None), confirmed(&["owner"], false, None)),
        (S::Draft, change(json!({ "owner": true }), Some(S::Draft)), confirmed(&["owner"], false, None)),
        (S::Draft, noted(change(json!({}), None), Some("the model's")), confirmed(&[], true, None)),
        (S::Qualified, change(json!({}), Some(S::Qualified)), confirmed(&[], false, Some(STAY))),
        (S::Qualified, change(json!({}), None), None),
        (S::Draft, change(json!({ "remark": null }), None), None),
        (S::Draft, change(json!({}), Some(S::Draft)), None),
    ] {
        let mut state = by_the_model(status);
        let events = state.decide(command.clone()).unwrap();
        let told = events.iter().find_map(|event| match event {
            QualificationEvent::QualificationAnswered { confirmed, .. } => confirmed.clone(),
            _ => None,
        });
        assert_eq!((told, events.len()), (expected.clone(), usize::from(expected.is_some())), "{command:?}");
        events.into_iter().for_each(|event| state.evolve(event));
        assert_eq!(state.decide(command.clone()).unwrap(), [], "once is enough: {command:?}");
        let settled = expected.as_ref().is_some_and(|expected| expected.answers.contains("owner"));
        assert_eq!(state.settled_by_people().contains("owner"), settled, "{command:?}");
    }
    // What is taken away is a person's word as well, of answers and of notes.
    let mut state = by_the_model(S::Draft);
    let away = noted(change(json!({ "owner": null }), None), None);
    state.decide(away).unwrap().into_iter().for_each(|event| state.evolve(event));
    assert!(state.settled_by_people().contains("owner") && state.notes_settled_by_a_person());
}
