use super::*;
use crate::calendar::HoursOfDay;
use crate::channel::Channel;
use crate::ids::MessageId;
use crate::labels::Labels;
use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use uuid::Uuid;

type Given = TestFramework<ApprovalRules>;

fn id(number: u128) -> RuleId {
    RuleId(Uuid::from_u128(number))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn any() -> Predicate {
    Predicate::default()
}

fn email() -> Predicate {
    Predicate { channel: Some(Channel::Email), ..any() }
}

fn tagged(tags: &[&str]) -> Predicate {
    Predicate { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..any() }
}

fn within(start: &str, end: &str, tz: &str) -> Predicate {
    Predicate {
        time_of_day: Some(HoursOfDay { start: start.into(), end: end.into(), tz: tz.into() }),
        ..any()
    }
}

fn added(number: u128, predicate: Predicate, action: Action, priority: u32) -> ApprovalRulesEvent {
    ApprovalRulesEvent::ApprovalRuleAdded {
        rule_id: id(number),
        version: 1,
        predicate: Personal::known(id(number).uuid(), predicate),
        action,
        priority,
    }
}

fn changed(
    number: u128,
    version: u32,
    predicate: Predicate,
    action: Action,
    priority: u32,
) -> ApprovalRulesEvent {
    ApprovalRulesEvent::ApprovalRuleChanged {
        rule_id: id(number),
        version,
        predicate: Personal::known(id(number).uuid(), predicate),
        action,
        priority,
    }
}

fn add(number: u128, predicate: Predicate, action: Action) -> ApprovalRulesCommand {
    ApprovalRulesCommand::Add {
        rule_id: id(number),
        predicate,
        action,
        priority: 100,
        acknowledge_catch_all: false,
    }
}

fn rules(events: Vec<ApprovalRulesEvent>) -> ApprovalRules {
    let mut rules = ApprovalRules::default();
    events.into_iter().for_each(|event| rules.apply(event));
    rules
}

fn facts(channel: Channel, niche: Option<&str>, tags: &[&str]) -> Facts {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Facts { channel, labels: Labels { niche: niche.map(str::to_owned), tags } }
}

fn mail() -> Facts {
    facts(Channel::Email, None, &[])
}

#[test]
fn a_rule_is_added_once() {
    Given::with(())
        .given_no_previous_events()
        .when(add(1, email(), Action::AutoApprove))
        .then_expect_events(vec![added(1, email(), Action::AutoApprove, 100)]);
    Given::with(())
        .given(vec![added(1, email(), Action::AutoApprove, 100)])
        .when(add(1, email(), Action::AutoApprove))
        .then_expect_error(ApprovalRulesError::AlreadyAdded);
}

#[test]
fn what_would_approve_everything_must_be_meant() {
    Given::with(())
        .given_no_previous_events()
        .when(add(1, any(), Action::AutoApprove))
        .then_expect_error(ApprovalRulesError::CatchAll);
    Given::with(())
        .given_no_previous_events()
        .when(add(1, any(), Action::QueueForManual))
        .then_expect_events(vec![added(1, any(), Action::QueueForManual, 100)]);
    Given::with(())
        .given_no_previous_events()
        .when(ApprovalRulesCommand::Add {
            rule_id: id(1),
            predicate: any(),
            action: Action::AutoApprove,
            priority: 5,
            acknowledge_catch_all: true,
        })
        .then_expect_events(vec![added(1, any(), Action::AutoApprove, 5)]);
    // Nor does a harmless rule become one by a change.
    Given::with(())
        .given(vec![added(1, any(), Action::QueueForManual, 100)])
        .when(ApprovalRulesCommand::Change {
            rule_id: id(1),
            patch: RulePatch { action: Some(Action::AutoApprove), ..RulePatch::default() },
            acknowledge_catch_all: false,
        })
        .then_expect_error(ApprovalRulesError::CatchAll);
}

#[test]
fn what_is_no_rule_is_refused() {
    let slug = |niche: &str| Predicate { niche: Some(NicheIs::Slug(niche.into())), ..any() };
    for (predicate, refusal) in [
        (slug("Not a slug"), ApprovalRulesError::Label(LabelError::NotASlug)),
        (tagged(&[""]), ApprovalRulesError::Label(LabelError::TagLength)),
        (tagged(&["a"; 51]), ApprovalRulesError::Label(LabelError::TooManyTags)),
        (within("09:00", "09:00", "UTC"), ApprovalRulesError::Hours(CalendarError::EmptyWindow)),
        (within("9:00", "17:00", "UTC"), ApprovalRulesError::Hours(CalendarError::NotATime)),
        (within("09:00", "17:00", "Mars"), ApprovalRulesError::Hours(CalendarError::UnknownZone)),
    ] {
        Given::with(())
            .given_no_previous_events()
            .when(add(1, predicate, Action::QueueForManual))
            .then_expect_error(refusal);
    }
    Given::with(())
        .given_no_previous_events()
        .when(ApprovalRulesCommand::Add {
            rule_id: id(1),
            predicate: email(),
            action: Action::AutoApprove,
            priority: PRIORITY_MAX + 1,
            acknowledge_catch_all: false,
        })
        .then_expect_error(ApprovalRulesError::Priority);
}

#[test]
fn a_change_is_a_new_version() {
    let change = |patch| ApprovalRulesCommand::Change { rule_id: id(1), patch, acknowledge_catch_all: false };
    let history = || vec![added(1, email(), Action::AutoApprove, 100)];
    Given::with(())
        .given(history())
        .when(change(RulePatch { priority: Some(7), ..RulePatch::default() }))
        .then_expect_events(vec![changed(1, 2, email(), Action::AutoApprove, 7)]);
    Given::with(())
        .given(history())
        .when(change(RulePatch { predicate: Some(email()), ..RulePatch::default() }))
        .then_expect_events(vec![]);
    Given::with(())
        .given(vec![
            added(1, email(), Action::AutoApprove, 100),
            ApprovalRulesEvent::ApprovalRuleRemoved { rule_id: id(1) },
        ])
        .when(change(RulePatch { priority: Some(7), ..RulePatch::default() }))
        .then_expect_error(ApprovalRulesError::Unknown);
}

#[test]
fn a_rule_is_removed_once() {
    let remove = || ApprovalRulesCommand::Remove { rule_id: id(1) };
    let removed = || ApprovalRulesEvent::ApprovalRuleRemoved { rule_id: id(1) };
    let history = || vec![added(1, email(), Action::AutoApprove, 100)];
    Given::with(()).given(history()).when(remove()).then_expect_events(vec![removed()]);
    let mut gone = history();
    gone.push(removed());
    Given::with(()).given(gone).when(remove()).then_expect_error(ApprovalRulesError::Unknown);
}

#[test]
fn without_a_rule_a_person_is_asked() {
    let verdict = rules(vec![]).evaluate(&mail(), Timestamp::default());
    assert_eq!(verdict, Verdict { rule: None, action: Action::QueueForManual });
}

#[test]
fn every_part_of_a_predicate_must_hold() {
    let noon = at("2026-11-21T12:00:00Z");
    let niche = |niche| Predicate { niche: Some(niche), ..any() };
    let slug = || NicheIs::Slug("renovation".into());
    for (predicate, facts, matches) in [
        (any(), mail(), true),
        (email(), mail(), true),
        (email(), facts(Channel::Whatsapp, None, &[]), false),
        (niche(slug()), facts(Channel::Email, Some("renovation"), &[]), true),
        (niche(slug()), facts(Channel::Email, Some("renovations"), &[]), false),
        (niche(slug()), mail(), false),
        (niche(NicheIs::Absent), mail(), true),
        (niche(NicheIs::Absent), facts(Channel::Email, Some("renovation"), &[]), false),
        (tagged(&["nurture"]), facts(Channel::Email, None, &["q3", "nurture"]), true),
        (tagged(&["Nurture "]), facts(Channel::Email, None, &["NURTURE"]), true),
        (tagged(&["nurture", "q4"]), facts(Channel::Email, None, &["q3", "nurture"]), false),
        (tagged(&["nurture"]), mail(), false),
        (within("09:00", "17:00", "Europe/Paris"), mail(), true),
        (within("17:00", "09:00", "Europe/Paris"), mail(), false),
        (Predicate { niche: Some(slug()), ..email() }, facts(Channel::Email, Some("kitchens"), &[]), false),
    ] {
        let rules = rules(vec![added(1, predicate.clone(), Action::AutoApprove, 1)]);
        let verdict = rules.evaluate(&facts, noon);
        assert_eq!(verdict.action == Action::AutoApprove, matches, "{predicate:?} {facts:?}");
    }
}

#[test]
fn a_window_is_read_off_the_clock_of_its_zone() {
    for (window, instant, matches) in [
        // Over midnight: from 22:00, which is in it, to 06:00, which is not.
        (within("22:00", "06:00", "Europe/Paris"), "2026-11-21T20:59:59.999Z", false),
        (within("22:00", "06:00", "Europe/Paris"), "2026-11-21T21:00:00Z", true),
        (within("22:00", "06:00", "Europe/Paris"), "2026-11-22T04:59:59.999Z", true),
        (within("22:00", "06:00", "Europe/Paris"), "2026-11-22T05:00:00Z", false),
        // Up to midnight, and from it.
        (within("18:00", "00:00", "UTC"), "2026-11-21T23:59:59.999Z", true),
        (within("18:00", "00:00", "UTC"), "2026-11-22T00:00:00Z", false),
        (within("00:00", "06:00", "UTC"), "2026-11-22T00:00:00Z", true),
        // The night has 25 hours, and the clock shows 02:00 to 03:00 twice: it matches both times.
        (within("02:00", "03:00", "Europe/Paris"), "2026-10-25T00:00:00Z", true),
        (within("02:00", "03:00", "Europe/Paris"), "2026-10-25T01:00:00Z", true),
        (within("02:00", "03:00", "Europe/Paris"), "2026-10-25T02:00:00Z", false),
        (within("22:00", "06:00", "Europe/Paris"), "2026-10-25T04:59:59Z", true),
        // The night has 23 hours, and the clock never shows 02:00 to 03:00: nothing matches.
        (within("02:00", "03:00", "Europe/Paris"), "2026-03-29T00:59:59.999Z", false),
        (within("02:00", "03:00", "Europe/Paris"), "2026-03-29T01:00:00Z", false),
        (within("22:00", "06:00", "Europe/Paris"), "2026-03-29T03:59:59Z", true),
        (within("22:00", "06:00", "Europe/Paris"), "2026-03-29T04:00:00Z", false),
        // Half an hour off, and a change of clocks by half an hour.
        (within("09:00", "17:00", "Asia/Kolkata"), "2026-11-21T03:30:00Z", true),
        (within("09:00", "17:00", "Asia/Kolkata"), "2026-11-21T03:29:59Z", false),
        (within("01:30", "02:00", "Australia/Lord_Howe"), "2026-04-04T14:45:00Z", true),
        (within("01:30", "02:00", "Australia/Lord_Howe"), "2026-04-04T15:15:00Z", true),
    ] {
        let rules = rules(vec![added(1, window.clone(), Action::AutoApprove, 1)]);
        let verdict = rules.evaluate(&mail(), at(instant));
        assert_eq!(verdict.action == Action::AutoApprove, matches, "{window:?} {instant}");
        let failed = rules.preview(id(1), &mail(), at(instant)).unwrap().failed_predicates;
        assert_eq!(failed.is_empty(), matches, "{window:?} {instant}");
    }
}

#[test]
fn the_first_rule_by_priority_and_age_wins() {
    let rules = rules(vec![
        added(1, any(), Action::QueueForManual, 50),
        added(2, email(), Action::AutoApprove, 50),
        added(3, email(), Action::QueueForManual, 10),
        // A change of priority moves a rule; its age stays.
        changed(3, 2, email(), Action::QueueForManual, 60),
        changed(2, 2, email(), Action::AutoApprove, 40),
        changed(1, 2, any(), Action::QueueForManual, 40),
    ]);
    let order: Vec<_> = rules.rules().iter().map(|rule| rule.rule_id).collect();
    assert_eq!(order, [id(1), id(2), id(3)]);
    let verdict = rules.evaluate(&mail(), Timestamp::default());
    assert_eq!(verdict.rule, Some(RuleRef { rule_id: id(1), version: 2 }));
}

#[test]
fn a_rule_that_cannot_be_read_asks_a_person() {
    let erased = ApprovalRulesEvent::ApprovalRuleAdded {
        rule_id: id(1),
        version: 1,
        predicate: Personal::erased(id(1).uuid()),
        action: Action::QueueForManual,
        priority: 1,
    };
    let rules = rules(vec![erased, added(2, any(), Action::AutoApprove, 2)]);
    let verdict = rules.evaluate(&mail(), Timestamp::default());
    assert_eq!(
        verdict,
        Verdict { rule: Some(RuleRef { rule_id: id(1), version: 1 }), action: Action::QueueForManual }
    );
}

#[test]
fn a_preview_says_what_fails_and_who_would_win() {
    let rules = rules(vec![
        added(1, email(), Action::QueueForManual, 1),
        added(2, Predicate { tags: vec!["nurture".into()], ..email() }, Action::AutoApprove, 2),
    ]);
    let preview = |rule, facts| rules.preview(id(rule), &facts, Timestamp::default());
    assert_eq!(
        preview(2, facts(Channel::Email, None, &["nurture"])),
        Ok(Preview {
            action: Some(Action::AutoApprove),
            failed_predicates: vec![],
            shadowed_by: Some(id(1))
        })
    );
    assert_eq!(
        preview(2, facts(Channel::Linkedin, None, &[])),
        Ok(Preview { action: None, failed_predicates: vec!["channel", "tags"], shadowed_by: None })
    );
    assert_eq!(
        preview(1, mail()),
        Ok(Preview { action: Some(Action::QueueForManual), failed_predicates: vec![], shadowed_by: None })
    );
    assert_eq!(preview(9, mail()), Err(ApprovalRulesError::Unknown));
}

#[test]
fn a_preview_names_every_part_that_fails_and_the_rule_that_wins() {
    let all = Predicate {
        niche: Some(NicheIs::Slug("renovation".into())),
        tags: vec!["nurture".into()],
        ..within("09:00", "17:00", "Europe/Paris")
    };
    let erased = ApprovalRulesEvent::ApprovalRuleAdded {
        rule_id: id(4),
        version: 1,
        predicate: Personal::erased(id(4).uuid()),
        action: Action::AutoApprove,
        priority: 90,
    };
    let rules = rules(vec![
        added(1, Predicate { channel: Some(Channel::Email), ..all }, Action::AutoApprove, 5),
        // Of the same priority, the older one wins.
        added(2, email(), Action::AutoApprove, 50),
        added(3, email(), Action::QueueForManual, 50),
        erased,
        added(5, any(), Action::AutoApprove, 99),
    ]);
    let night = at("2026-11-21T22:00:00Z");
    let linkedin = facts(Channel::Linkedin, None, &[]);
    for (rule, facts, failed, shadowed_by) in [
        (1, linkedin.clone(), vec!["channel", "niche", "tags", "timeOfDay"], None),
        (1, mail(), vec!["niche", "tags", "timeOfDay"], None),
        (2, mail(), vec![], None),
        (3, mail(), vec![], Some(id(2))),
        // What cannot be read does not match, and leaves what comes after it to a person.
        (4, linkedin.clone(), vec!["erased"], None),
        (5, linkedin, vec![], Some(id(4))),
        (5, mail(), vec![], Some(id(2))),
    ] {
        let preview = rules.preview(id(rule), &facts, night).unwrap();
        assert_eq!(
            (preview.failed_predicates, preview.shadowed_by),
            (failed, shadowed_by),
            "{rule} {facts:?}"
        );
    }
}

#[test]
fn a_back_test_is_the_same_as_deciding_anew() {
    let before = rules(vec![added(1, email(), Action::QueueForManual, 1)]);
    let candidates = rules(vec![
        added(2, within("09:00", "17:00", "Europe/Paris"), Action::AutoApprove, 1),
        added(3, email(), Action::QueueForManual, 2),
    ]);
    let decisions: Vec<PastDecision> = (0..48)
        .map(|hour| {
            let at = at("2026-10-24T00:00:00Z").plus_millis(hour * 3_600_000);
            let message_id = MessageId(Uuid::from_u128(hour as u128));
            PastDecision { message_id, facts: Some(mail()), at, verdict: before.evaluate(&mail(), at) }
        })
        .chain([PastDecision {
            message_id: MessageId::default(),
            facts: None,
            at: Timestamp::default(),
            verdict: Verdict { rule: None, action: Action::QueueForManual },
        }])
        .collect();
    let simulation = simulate(candidates.rules(), decisions.clone(), 3);
    // Eight hours of each day, also of the one with 25 hours.
    assert_eq!(
        simulation.counts,
        RulesDiffer {
            decisions: 49,
            unknown: 1,
            newly_auto_approved: 16,
            newly_queued: 0,
            by_another_rule: 32,
        }
    );
    assert_eq!(simulation.examples.len(), 3);
    for difference in simulation.examples {
        assert_eq!(difference.would_be, candidates.evaluate(&mail(), difference.at));
    }
    let same = simulate(before.rules(), decisions, 3);
    assert_eq!((same.counts.newly_auto_approved, same.counts.by_another_rule), (0, 0));
}
