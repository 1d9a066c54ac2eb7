use cqrs_es::test::TestFramework;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::decimal::Decimal;

type Given = TestFramework<QualificationTemplate>;
const ID: QualificationTemplateId = QualificationTemplateId(Uuid::from_u128(1));

fn field(key: &str, kind: FieldType) -> FormField {
    FormField {
        key: key.into(),
        label: key.into(),
        kind,
        required: false,
        options: if kind.chooses() { vec!["gas".into(), "oil".into(), "wood".into()] } else { vec![] },
        min: None,
        max: None,
        max_length: None,
        pattern: None,
        maps_from_script_node_id: None,
    }
}

fn form(fields: Vec<FormField>) -> QualificationForm {
    QualificationForm { name: "Heating".into(), description: None, fields, scoring: None }
}

fn create(form: QualificationForm) -> QualificationTemplateCommand {
    let form = form.faultless(&mut PatternRoom::default()).unwrap();
    QualificationTemplateCommand::Create { template_id: ID, form }
}

fn created(form: QualificationForm) -> QualificationTemplateEvent {
    let form = Personal::known(ID.uuid(), form);
    QualificationTemplateEvent::QualificationTemplateCreated { template_id: ID, form }
}

fn revise(patch: FormPatch) -> QualificationTemplateCommand {
    QualificationTemplateCommand::Revise(Box::new(patch))
}

#[test]
fn a_change_makes_the_next_version_and_no_change_makes_none() {
    let first = form(vec![field("fuel", FieldType::Select)]);
    let second = QualificationForm { name: "Heat".into(), ..first.clone() };
    let rename = || revise(FormPatch { name: Some("Heat".into()), ..FormPatch::default() });
    let revised = QualificationTemplateEvent::QualificationTemplateRevised {
        version: 2,
        form: Personal::known(ID.uuid(), second.clone()),
    };
    Given::with(())
        .given_no_previous_events()
        .when(create(first.clone()))
        .then_expect_events(vec![created(first.clone())]);
    Given::with(())
        .given(vec![created(first.clone())])
        .when(rename())
        .then_expect_events(vec![revised.clone()]);
    Given::with(()).given(vec![created(first.clone()), revised]).when(rename()).then_expect_events(vec![]);
    Given::with(())
        .given_no_previous_events()
        .when(rename())
        .then_expect_error(QualificationTemplateError::Unknown);
    Given::with(())
        .given(vec![created(first.clone())])
        .when(create(first))
        .then_expect_error(QualificationTemplateError::AlreadyCreated);
}

#[test]
fn a_whole_form_takes_the_place_of_another_and_of_itself_it_does_not() {
    let first = form(vec![field("fuel", FieldType::Select)]);
    let second = QualificationForm { name: "Heat".into(), ..first.clone() };
    let replace = || {
        let form = second.clone().faultless(&mut PatternRoom::default()).unwrap();
        QualificationTemplateCommand::Replace(form)
    };
    let revised = QualificationTemplateEvent::QualificationTemplateRevised {
        version: 2,
        form: Personal::known(ID.uuid(), second.clone()),
    };
    Given::with(())
        .given(vec![created(first.clone())])
        .when(replace())
        .then_expect_events(vec![revised.clone()]);
    Given::with(()).given(vec![created(first), revised]).when(replace()).then_expect_events(vec![]);
    Given::with(())
        .given_no_previous_events()
        .when(replace())
        .then_expect_error(QualificationTemplateError::Unknown);
}

#[test]
fn an_erased_template_takes_no_new_version() {
    let erased = QualificationTemplateEvent::QualificationTemplateCreated {
        template_id: ID,
        form: Personal::erased(ID.uuid()),
    };
    Given::with(())
        .given(vec![erased])
        .when(revise(FormPatch::default()))
        .then_expect_error(QualificationTemplateError::Erased);
}

/// The codes of what is wrong with a form, with their paths.
fn faults(form: &QualificationForm) -> Vec<(String, &'static str)> {
    form.faults().into_iter().map(|fault| (fault.path, fault.code)).collect()
}

#[test]
fn a_field_is_judged_by_its_type() {
    use FieldType as T;
    let decimal = |number: i32| Some(Decimal::from(number));
    let with = |kind, change: fn(&mut FormField)| {
        let mut field = field("fuel", kind);
        change(&mut field);
        field
    };
    let mut upside_down = field("fuel", T::Number);
    (upside_down.min, upside_down.max) = (decimal(3), decimal(2));
    for (field, path, code) in [
        (with(T::Text, |f| f.key = "__proto__".into()), "key", "WRONG_FORMAT"),
        (with(T::Text, |f| f.key = "Fuel".into()), "key", "WRONG_FORMAT"),
        (with(T::Text, |f| f.key = "2fuel".into()), "key", "WRONG_FORMAT"),
        (with(T::Text, |f| f.key = "f".repeat(65)), "key", "WRONG_FORMAT"),
        (with(T::Text, |f| f.key = "énergie".into()), "key", "WRONG_FORMAT"),
        (with(T::Text, |f| f.label = String::new()), "label", "TOO_SHORT"),
        (with(T::Text, |f| f.label = "é".repeat(201)), "label", "TOO_LONG"),
        (with(T::Select, |f| f.options.clear()), "options", "OPTIONS_REQUIRED"),
        (with(T::Multiselect, |f| f.options.clear()), "options", "OPTIONS_REQUIRED"),
        (with(T::Select, |f| f.options.push("gas".into())), "options[3]", "DUPLICATE_OPTION"),
        (with(T::Select, |f| f.options.push(String::new())), "options[3]", "TOO_SHORT"),
        (
            with(T::Select, |f| f.options = (0..101).map(|n| n.to_string()).collect()),
            "options",
            "TOO_MANY_ITEMS",
        ),
        (with(T::Text, |f| f.options.push("a".into())), "options", "NOT_FOR_TYPE"),
        (with(T::Text, |f| f.min = Some(Decimal::from(1))), "min", "NOT_FOR_TYPE"),
        (with(T::Number, |f| f.max_length = Some(3)), "maxLength", "NOT_FOR_TYPE"),
        (with(T::Email, |f| f.pattern = Some("a".into())), "pattern", "NOT_FOR_TYPE"),
        (with(T::Text, |f| f.max_length = Some(0)), "maxLength", "OUT_OF_RANGE"),
        (with(T::Text, |f| f.max_length = Some(4_001)), "maxLength", "OUT_OF_RANGE"),
        (with(T::Text, |f| f.pattern = Some("(".into())), "pattern", "BAD_PATTERN"),
        (with(T::Text, |f| f.pattern = Some("(?=a)".into())), "pattern", "BAD_PATTERN"),
        (with(T::Text, |f| f.pattern = Some(r"(a)\1".into())), "pattern", "BAD_PATTERN"),
        (with(T::Text, |f| f.pattern = Some("((a{999}){999}){999}".into())), "pattern", "BAD_PATTERN"),
        (with(T::Text, |f| f.pattern = Some("a".repeat(201))), "pattern", "TOO_LONG"),
        (with(T::Text, |f| f.pattern = Some(String::new())), "pattern", "TOO_SHORT"),
        (
            with(T::Text, |f| f.maps_from_script_node_id = Some("A b".into())),
            "mapsFromScriptNodeId",
            "WRONG_FORMAT",
        ),
        (upside_down, "max", "MIN_OVER_MAX"),
    ] {
        let shown = format!("{field:?}");
        assert_eq!(faults(&form(vec![field])), [(format!("fields[0].{path}"), code)], "{shown}");
    }
    assert_eq!(faults(&form(FieldType::ALL.map(|kind| field(kind.name(), kind)).into())), []);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut broken = form(vec![field("fuel", FieldType::Text), field("fuel", FieldType::Select)]);
    broken.name = String::new();
    broken.fields[1].options.clear();
    assert_eq!(broken.clone().faultless(&mut PatternRoom::default()), Err(broken.faults()));
    let paths: Vec<String> = broken.faults().into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths, ["name", "fields[1].key", "fields[1].options"]);
}

#[test]
fn a_form_has_1_to_100_fields_and_256_kib() {
    let many = |n: usize| form((0..n).map(|n| field(&format!("f{n}"), FieldType::Text)).collect());
    assert_eq!(faults(&many(0)), [("fields".into(), "TOO_FEW_ITEMS")]);
    assert_eq!(faults(&many(100)), []);
    assert_eq!(faults(&many(101)), [("fields".into(), "TOO_MANY_ITEMS")]);
    let mut long = form((0..20).map(|n| field(&format!("f{n}"), FieldType::Select)).collect());
    for field in &mut long.fields {
        field.options = (0..100).map(|n| format!("{n:0200}")).collect();
    }
    assert_eq!(faults(&long), [(String::new(), "TOO_LARGE")]);
}

fn scored(rules: Vec<(&str, ScoreTest, i32)>, threshold: i32) -> QualificationForm {
    let fields = FieldType::ALL.map(|kind| field(kind.name(), kind)).into();
    let rules =
        rules.into_iter().map(|(key, test, points)| ScoreRule { key: key.into(), test, points }).collect();
    QualificationForm { scoring: Some(Scoring { rules, qualify_threshold: threshold }), ..form(fields) }
}

#[test]
fn a_rule_asks_what_its_field_can_answer() {
    use ScoreTest as S;
    let text = |text: &str| Answer::Text(text.into());
    let day = |text: &str| Answer::Date(text.into());
    let number = |n: i32| Answer::Number(Decimal::from(n));
    for (key, test, expected) in [
        ("text", S::Answered, None),
        ("text", S::Equals(text("a")), None),
        ("text", S::AtLeast(text("a")), Some(("operator", "NOT_FOR_TYPE"))),
        ("number", S::AtLeast(number(1)), None),
        ("number", S::AtLeast(text("1")), Some(("value", "WRONG_TYPE"))),
        ("date", S::AtMost(day("2026-02-28")), None),
        ("date", S::AtMost(day("2026-02-30")), Some(("value", "WRONG_FORMAT"))),
        ("select", S::Equals(Answer::Option("gas".into())), None),
        ("select", S::NotEquals(text("coal")), Some(("value", "NOT_ONE_OF"))),
        ("multiselect", S::Includes("gas".into()), None),
        ("multiselect", S::Includes("coal".into()), Some(("value", "NOT_ONE_OF"))),
        ("multiselect", S::Equals(text("gas")), Some(("operator", "NOT_FOR_TYPE"))),
        ("select", S::Includes("gas".into()), Some(("operator", "NOT_FOR_TYPE"))),
        ("nothing", S::Answered, Some(("key", "UNKNOWN_KEY"))),
    ] {
        let found = faults(&scored(vec![(key, test.clone(), 1)], 0));
        let expected: Vec<_> =
            expected.map(|(place, code)| (format!("scoring.rules[0].{place}"), code)).into_iter().collect();
        assert_eq!(found, expected, "{key} {test:?}");
    }
    assert_eq!(faults(&scored(vec![], 0)), [("scoring.rules".into(), "TOO_FEW_ITEMS")]);
    let found = faults(&scored(vec![("text", S::Answered, 1_001)], 200_001));
    assert_eq!(found.iter().map(|fault| fault.1).collect::<Vec<_>>(), ["OUT_OF_RANGE"; 2]);
}

#[test]
fn a_threshold_that_nothing_reaches_is_doubted() {
    let rules = |threshold| {
        scored(vec![("text", ScoreTest::Answered, 5), ("date", ScoreTest::Answered, -5)], threshold)
    };
    assert_eq!(rules(5).doubts(), []);
    assert_eq!(rules(6).doubts()[0].code, "THRESHOLD_UNREACHABLE");
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn answers_are_weighed_by_the_rules_that_hold() {
    use ScoreTest as S;
    let form = scored(
        vec![
            ("number", S::AtLeast(Answer::Number("99.5".parse().unwrap())), 30),
            ("boolean", S::Equals(Answer::Boolean(true)), 20),
            ("multiselect", S::Includes("oil".into()), 10),
            ("select", S::NotEquals(Answer::Option("gas".into())), 5),
            ("date", S::AtMost(Answer::Date("2026-06-30".into())), 3),
            ("text", S::Answered, -1),
        ],
        50,
    );
    for (answers, score) in [
        (json!({}), 0),
        (json!({ "number": 99.4 }), 0),
        (json!({ "number": 99.5 }), 30),
        (json!({ "number": 100, "boolean": true }), 50),
        (json!({ "boolean": false, "multiselect": ["wood", "oil"] }), 10),
        (json!({ "select": "gas" }), 0),
        (json!({ "select": "oil", "date": "2026-06-30", "text": "x" }), 7),
        (json!({ "date": "2026-07-01" }), 0),
    ] {
        let read = form.answered(&Answers::new(), &object(answers.clone())).unwrap();
        assert_eq!(form.score(&read), Some(score), "{answers}");
    }
    assert_eq!((form.reaches(49), form.reaches(50)), (Some(false), Some(true)));
    let unweighed = QualificationForm { scoring: None, ..form };
    assert_eq!((unweighed.score(&Answers::new()), unweighed.reaches(1)), (None, None));
}

#[test]
fn an_answer_fits_its_field_or_is_refused() {
    let mut fields: Vec<FormField> = FieldType::ALL.map(|kind| field(kind.name(), kind)).into();
    fields[0].max_length = Some(3);
    fields[1].min = Some(Decimal::from(0));
    fields[1].max = Some("10.5".parse().unwrap());
    let mut code = field("code", FieldType::Text);
    code.pattern = Some("^[A-Z]{2}[0-9]+$".into());
    fields.push(code);
    let form = form(fields);
    for (key, value, expected) in [
        ("text", json!("é\u{1f600}x"), None),
        ("text", json!("abcd"), Some("TOO_LONG")),
        ("text", json!(""), Some("TOO_SHORT")),
        ("text", json!(1), Some("WRONG_TYPE")),
        ("number", json!(0), None),
        ("number", json!(10.5), None),
        ("number", json!(-0.1), Some("TOO_SMALL")),
        ("number", json!(10.6), Some("TOO_LARGE")),
        ("number", json!("5"), Some("WRONG_TYPE")),
        ("number", json!("NaN"), Some("WRONG_TYPE")),
        ("number", json!("Infinity"), Some("WRONG_TYPE")),
        ("number", json!("1e400"), Some("WRONG_TYPE")),
        ("number", json!(1e300), Some("OUT_OF_RANGE")),
        ("number", json!(0.1 + 0.2), Some("OUT_OF_RANGE")),
        ("number", json!(true), Some("WRONG_TYPE")),
        ("boolean", json!(false), None),
        ("boolean", json!("true"), Some("WRONG_TYPE")),
        ("boolean", json!(1), Some("WRONG_TYPE")),
        ("date", json!("2028-02-29"), None),
        ("date", json!("2026-02-29"), Some("WRONG_FORMAT")),
        ("date", json!("2026-02-30"), Some("WRONG_FORMAT")),
        ("date", json!("2026-2-3"), Some("WRONG_FORMAT")),
        ("date", json!("20260203"), Some("WRONG_FORMAT")),
        ("date", json!("2026-02-03T00:00:00Z"), Some("WRONG_FORMAT")),
        ("select", json!("gas"), None),
        ("select", json!("Gas"), Some("NOT_ONE_OF")),
        ("select", json!(["gas"]), Some("WRONG_TYPE")),
        ("multiselect", json!(["oil", "gas"]), None),
        ("multiselect", json!(["gas", "gas"]), Some("DUPLICATE")),
        ("multiselect", json!(["coal"]), Some("NOT_ONE_OF")),
        ("multiselect", json!([]), Some("TOO_FEW_ITEMS")),
        ("multiselect", json!("gas"), Some("WRONG_TYPE")),
        ("multiselect", json!([1]), Some("WRONG_TYPE")),
        ("email", json!("ada@example.com"), None),
        ("email", json!("ada"), Some("WRONG_FORMAT")),
        ("email", json!("a@b@c"), Some("WRONG_FORMAT")),
        ("email", json!("Ada <ada@example.com>"), Some("WRONG_FORMAT")),
        ("phone", json!("+33 6 12 34 56 78"), None),
        ("phone", json!("06.12.34.56.78"), None),
        ("phone", json!("call me"), Some("WRONG_FORMAT")),
        ("phone", json!("123"), Some("WRONG_FORMAT")),
        ("code", json!("FR75"), None),
        ("code", json!("fr75"), Some("WRONG_FORMAT")),
        ("colour", json!("red"), Some("UNKNOWN_FIELD")),
        ("__proto__", json!({}), Some("UNKNOWN_FIELD")),
    ] {
        let read = form.answered(&Answers::new(), &object(json!({ key: value })));
        let found = read.as_ref().err().map(|faults| (faults[0].path.as_str(), faults[0].code));
        assert_eq!(found, expected.map(|code| (key, code)), "{key}: {value}");
        if let Ok(answers) = read
            && key != "multiselect"
        {
            assert_eq!(answers[key].to_json(), value);
        }
    }
}

#[test]
fn several_options_stand_in_the_order_of_the_form() {
    let form = form(vec![field("fuels", FieldType::Multiselect)]);
    let read = form.answered(&Answers::new(), &object(json!({ "fuels": ["wood", "gas"] }))).unwrap();
    assert_eq!(read["fuels"].to_json(), json!(["gas", "wood"]));
}

#[test]
fn answers_are_merged_and_null_clears() {
    let form = form(vec![field("fuel", FieldType::Select), field("rooms", FieldType::Number)]);
    let first = form.answered(&Answers::new(), &object(json!({ "fuel": "gas", "rooms": 3 }))).unwrap();
    let second = form.answered(&first, &object(json!({ "fuel": null }))).unwrap();
    assert_eq!(second.keys().collect::<Vec<_>>(), ["rooms"]);
}

#[test]
fn what_is_missing_is_what_is_required() {
    let mut form = form(vec![field("fuel", FieldType::Select), field("rooms", FieldType::Number)]);
    form.fields[1].required = true;
    assert_eq!(form.missing(&Answers::new()), ["rooms"]);
    let answers = form.answered(&Answers::new(), &object(json!({ "rooms": 3 }))).unwrap();
    assert!(form.missing(&answers).is_empty());
}

#[test]
fn a_catastrophic_pattern_takes_no_longer_than_another() {
    let mut evil = field("code", FieldType::Text);
    evil.pattern = Some("^(a+)+$".into());
    let form = form(vec![evil]);
    assert_eq!(form.faults(), []);
    // A backtracking engine would take 2^3999 steps.
    let text = format!("{}!", "a".repeat(3_999));
    let read = form.answered(&Answers::new(), &object(json!({ "code": text })));
    assert_eq!(read.unwrap_err()[0].code, "WRONG_FORMAT");
}

#[test]
fn what_answers_are_held_against_has_a_bound_for_one_call() {
    let with = |pattern: &str, key: String| {
        let mut field = field(&key, FieldType::Text);
        field.pattern = Some(pattern.into());
        field
    };
    let of = |pattern| form((0..100).map(|n| with(pattern, format!("f{n}"))).collect());
    let all = |form: &QualificationForm, text: &str| {
        object(form.fields.iter().map(|field| (field.key.clone(), json!(text))).collect())
    };
    let names = of(r"^[\p{L} '-]{2,100}$");
    let answers = names.answered(&Answers::new(), &all(&names, &"e".repeat(100)));
    assert_eq!(answers.map(|answers| answers.len()), Ok(100), "a hundred names of a hundred letters");

    // 12 000 bytes for 9 000 states: each is too much alone, and none is looked at.
    let heavy = of("^(?:a?){3000}[bc]$");
    assert_eq!(heavy.faults(), []);
    let faults = heavy.answered(&Answers::new(), &all(&heavy, &"\u{4e2d}".repeat(4_000))).unwrap_err();
    assert_eq!(faults.len(), 100);
    assert!(faults.iter().all(|fault| fault.code == "TOO_MUCH_TO_MATCH"), "{}", faults[0].message);
    assert!(heavy.answered(&Answers::new(), &all(&heavy, "ab")).is_ok(), "short ones are");
}

#[test]
fn values_of_rules_are_held_against_patterns_within_a_bound_for_all_forms_of_a_call() {
    let mut field = field("code", FieldType::Text);
    field.pattern = Some("^(?:a?){3300}[bc]".into());
    let rule = |text: String| ScoreRule {
        key: "code".into(),
        test: ScoreTest::Equals(Answer::Text(text)),
        points: 1,
    };
    let scored = |rules| QualificationForm {
        scoring: Some(Scoring { rules, qualify_threshold: 1 }),
        ..form(vec![field.clone()])
    };
    let told = |form: QualificationForm, room: &mut PatternRoom| {
        let faults = form.faults_within(room).into_iter();
        faults.map(|fault| (fault.path, fault.code)).collect::<Vec<_>>()
    };
    let mut room = PatternRoom::default();
    assert_eq!(told(scored(vec![rule("b".into())]), &mut room), []);
    let long = scored(vec![rule("b".into()), rule("\u{4e2d}".repeat(4_000))]);
    assert_eq!(told(long, &mut room), [("scoring.rules[1].value".to_owned(), "TOO_MUCH_TO_MATCH")]);
    // It takes four fifths of the room, though the match is found at once.
    let most = || scored(vec![rule(format!("b{}", "a".repeat(3_999)))]);
    assert_eq!(told(most(), &mut room), []);
    assert_eq!(told(most(), &mut room), [("scoring.rules[0].value".to_owned(), "TOO_MUCH_TO_MATCH")]);
}

#[test]
fn what_breaks_with_the_past_is_named() {
    use FieldType as T;
    let names = |before: FormField, after: Option<FormField>| -> Vec<&'static str> {
        let (before, after) = (form(vec![before]), form(after.into_iter().collect()));
        breaking_changes(&before, &after).iter().map(|change| change.what.name()).collect()
    };
    let changed = |kind, change: fn(&mut FormField)| {
        let mut after = field("fuel", kind);
        change(&mut after);
        names(field("fuel", kind), Some(after))
    };
    let none: [&str; 0] = [];
    assert_eq!(changed(T::Select, |_| ()), none);
    assert_eq!(changed(T::Select, |f| f.label = "Fuel?".into()), none);
    assert_eq!(changed(T::Select, |f| f.options.push("coal".into())), none);
    assert_eq!(changed(T::Select, |f| f.options.reverse()), none);
    assert_eq!(changed(T::Select, |f| f.options.truncate(2)), ["narrowed_options"]);
    assert_eq!(changed(T::Select, |f| f.kind = T::Multiselect), ["type_change"]);
    assert_eq!(changed(T::Text, |f| f.required = true), ["new_required"]);
    assert_eq!(changed(T::Text, |f| f.max_length = Some(9)), ["narrowed_limits"]);
    assert_eq!(changed(T::Number, |f| f.min = Some(Decimal::from(1))), ["narrowed_limits"]);
    assert_eq!(names(field("fuel", T::Text), None), ["removed_key"]);

    let mut required = field("rooms", T::Number);
    required.required = true;
    let wider = breaking_changes(
        &form(vec![required.clone()]),
        &form(vec![FormField { required: false, ..required.clone() }]),
    );
    assert_eq!(wider, []);
    let added = breaking_changes(&form(vec![]), &form(vec![required, field("fuel", T::Text)]));
    assert_eq!(added, [BreakingChange { key: "rooms".into(), what: Broken::NewRequired }]);
}
