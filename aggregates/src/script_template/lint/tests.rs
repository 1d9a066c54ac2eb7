//! Every authoring rule, as rows.

use super::*;
use crate::script_template::Branch;
use crate::script_template::samples::{branch, instruction, question, sample, select, yesno};

fn content(steps: Vec<Node>) -> ScriptContent {
    ScriptContent { name: "Spring".into(), description: None, language: "fr".into(), steps }
}

/// Paths and codes.
type Told<'a> = Vec<(&'a str, &'a str)>;

fn told(findings: &[Finding]) -> Told<'_> {
    findings.iter().map(|finding| (finding.path.as_str(), finding.code)).collect()
}

fn errors(steps: Vec<Node>) -> Vec<(String, &'static str)> {
    lint(&content(steps)).errors.into_iter().map(|finding| (finding.path, finding.code)).collect()
}

#[test]
fn a_script_that_can_be_gone_through_has_no_errors() {
    assert_eq!(lint(&sample()), Lint::default());
}

#[test]
fn each_rule_has_its_code_and_its_path() {
    let q = |id: &str| question(id, "How many?");
    let rows: Vec<(Vec<Node>, Told<'_>)> = vec![
        (vec![], vec![("steps", "NO_STEPS")]),
        (vec![q("")], vec![("steps[0].id", "INVALID_NODE_ID")]),
        (vec![q("Budget")], vec![("steps[0].id", "INVALID_NODE_ID")]),
        (vec![q("é")], vec![("steps[0].id", "INVALID_NODE_ID")]),
        (vec![q(&"a".repeat(65))], vec![("steps[0].id", "INVALID_NODE_ID")]),
        (vec![q(&"a".repeat(64))], vec![]),
        (vec![q("__proto__")], vec![("steps[0].id", "RESERVED_NODE_ID")]),
        (vec![q("a"), q("a")], vec![("steps[1].id", "DUPLICATE_NODE_ID")]),
        (
            vec![yesno("a", vec![branch("Oui", vec![q("b")]), branch("Non", vec![q("b")])])],
            vec![("steps[0].branches[1].steps[0].id", "DUPLICATE_NODE_ID")],
        ),
        (vec![question("a", "")], vec![("steps[0].text", "EMPTY_TEXT")]),
        (vec![question("a", " \u{200b}\n")], vec![("steps[0].text", "EMPTY_TEXT")]),
        (vec![question("a", &"é".repeat(TEXT_MAX))], vec![]),
        (vec![question("a", &"é".repeat(TEXT_MAX + 1))], vec![("steps[0].text", "TOO_LONG")]),
        (
            vec![Node { required: true, ..instruction("a", "Read this") }],
            vec![("steps[0].required", "ANSWER_NOT_ALLOWED")],
        ),
        (
            vec![Node { options: vec![Choice::new("A", None)], ..instruction("a", "Read this") }],
            vec![("steps[0].options", "OPTIONS_NOT_ALLOWED")],
        ),
        (
            vec![Node { branches: vec![branch("Oui", vec![])], ..instruction("a", "Read this") }],
            vec![("steps[0].branches", "BRANCHES_NOT_ALLOWED")],
        ),
        (
            vec![Node { branches: vec![branch("Oui", vec![])], ..q("a") }],
            vec![("steps[0].branches", "BRANCHES_NOT_ALLOWED")],
        ),
        (
            vec![Node { options: vec![Choice::new("A", None)], ..q("a") }],
            vec![("steps[0].options", "OPTIONS_NOT_ALLOWED")],
        ),
        (
            vec![Node { options: vec![Choice::new("Oui", None)], ..yesno("a", vec![]) }],
            vec![("steps[0].options", "OPTIONS_NOT_ALLOWED")],
        ),
        (vec![select("a", &[], vec![])], vec![("steps[0].options", "OPTIONS_MISSING")]),
        (vec![select("a", &[""], vec![])], vec![("steps[0].options[0].value", "EMPTY_OPTION")]),
        (vec![select("a", &["A "], vec![])], vec![("steps[0].options[0].value", "WHITESPACE_AROUND_OPTION")]),
        (
            vec![select("a", &["A\u{200b}"], vec![])],
            vec![("steps[0].options[0].value", "INVISIBLE_CHARACTER")],
        ),
        (
            vec![select("a", &["A", "B", "A"], vec![])],
            vec![("steps[0].options[2].value", "DUPLICATE_OPTION")],
        ),
        (
            vec![select("a", &[&"é".repeat(OPTION_MAX + 1)], vec![])],
            vec![("steps[0].options[0].value", "TOO_LONG")],
        ),
        (
            vec![select("a", &["A", "B"], vec![branch("A", vec![]), branch("A", vec![])])],
            vec![("steps[0].branches[1].label", "DUPLICATE_BRANCH_LABEL")],
        ),
        // Options without a branch go on with the next step; a yesno may have one branch, or none.
        (vec![select("a", &["A", "B"], vec![branch("A", vec![])])], vec![]),
        (vec![yesno("a", vec![branch("Non", vec![q("b")])])], vec![]),
        (vec![yesno("a", vec![])], vec![]),
    ];
    for (steps, expected) in rows {
        let shown = format!("{steps:?}");
        let found = errors(steps);
        let found: Vec<_> = found.iter().map(|(path, code)| (path.as_str(), *code)).collect();
        assert_eq!(found, expected, "{shown}");
    }
}

#[test]
fn a_label_that_matches_nothing_names_what_was_meant() {
    for (label, meant) in [
        ("oui", "Oui"),
        ("OUI", "Oui"),
        ("Oui ", "Oui"),
        (" Oui", "Oui"),
        ("Oui\u{200b}", "Oui"),
        ("Oui\u{a0}", "Oui"),
        ("Yes", "Oui"),
        ("No", "Non"),
        ("nom", "Non"),
        ("", "Oui"),
    ] {
        let found = lint(&content(vec![yesno("a", vec![branch(label, vec![])])])).errors;
        assert_eq!(told(&found), [("steps[0].branches[0].label", "BRANCH_LABEL_UNMATCHED")], "{label}");
        let message = &found[0].message;
        assert!(
            message.contains(&format!("{label:?}")) && message.ends_with(&format!("{meant:?}?")),
            "{message}"
        );
    }
    for (label, meant) in [
        ("Devis", "devis"),
        ("devsi", "devis"),
        ("Rendez-vous", "rdv"),
        ("e\u{301}te\u{301}", "\u{e9}t\u{e9}"),
    ] {
        let options = vec![
            Choice::new("devis", None),
            Choice::new("rdv", Some("Rendez-vous".into())),
            Choice::new("\u{e9}t\u{e9}", None),
        ];
        let node = Node { options, ..select("a", &[], vec![branch(label, vec![])]) };
        let found = lint(&content(vec![node])).errors;
        assert_eq!(told(&found), [("steps[0].branches[0].label", "BRANCH_LABEL_UNMATCHED")], "{label}");
        assert!(found[0].message.ends_with(&format!("{meant:?}?")), "{}", found[0].message);
    }
}

#[test]
fn the_same_letters_in_the_same_form_match() {
    let node = select("a", &["\u{e9}t\u{e9}"], vec![branch("\u{e9}t\u{e9}", vec![])]);
    assert_eq!(errors(vec![node]), []);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let steps = vec![
        question("A", ""),
        yesno("b", vec![branch("Oui", vec![]), branch("no", vec![question("b", "Why?")])]),
        select("c", &[], vec![branch("x", vec![])]),
    ];
    let mut all = content(steps);
    all.name = " ".into();
    all.language = "français".into();
    assert_eq!(
        told(&lint(&all).errors),
        [
            ("name", "EMPTY_TEXT"),
            ("language", "INVALID_LANGUAGE"),
            ("steps[0].id", "INVALID_NODE_ID"),
            ("steps[0].text", "EMPTY_TEXT"),
            ("steps[1].branches[1].label", "BRANCH_LABEL_UNMATCHED"),
            ("steps[1].branches[1].steps[0].id", "DUPLICATE_NODE_ID"),
            ("steps[2].options", "OPTIONS_MISSING"),
            ("steps[2].branches[0].label", "BRANCH_LABEL_UNMATCHED"),
        ]
    );
}

/// Yes, yes, yes, … down to that depth.
fn nested(depth: usize) -> Vec<Node> {
    let mut steps = vec![question("end", "And?")];
    for level in 1..depth {
        steps = vec![yesno(&format!("n{level}"), vec![branch("Oui", steps)])];
    }
    steps
}

#[test]
fn the_limits_hold_at_their_edges() {
    let many = |count: usize| (0..count).map(|n| question(&format!("n{n}"), "And?")).collect::<Vec<_>>();
    assert_eq!(errors(many(500)), []);
    assert_eq!(errors(many(501)), [("steps".to_owned(), "TOO_MANY_NODES")]);
    assert_eq!(errors(nested(20)), []);
    let beyond = format!("steps{}", "[0].branches[0].steps".repeat(20));
    assert_eq!(errors(nested(21)), [(beyond, "TOO_DEEP")]);

    // Nodes of branches count as well.
    let mut steps = many(499);
    steps.push(yesno("last", vec![branch("Oui", vec![])]));
    assert_eq!(errors(steps.clone()), []);
    steps[499].branches[0].steps.push(question("one-more", "And?"));
    assert_eq!(errors(steps), [("steps".to_owned(), "TOO_MANY_NODES")]);

    let long = |count: usize| -> Vec<Node> {
        (0..count).map(|n| question(&format!("n{n}"), &"a".repeat(TEXT_MAX))).collect()
    };
    assert_eq!(errors(long(64)), []);
    assert_eq!(errors(long(66)), [("steps".to_owned(), "TOO_LARGE")]);

    let options: Vec<String> = (0..=OPTIONS_MAX).map(|n| n.to_string()).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    assert_eq!(errors(vec![select("a", &options[..OPTIONS_MAX], vec![])]), []);
    assert_eq!(
        errors(vec![select("a", &options, vec![])]),
        [("steps[0].options".to_owned(), "TOO_MANY_OPTIONS")]
    );
}

#[test]
fn a_script_without_end_gets_an_answer_with_an_end() {
    let branches: Vec<Branch> = (0..5_000).map(|n| branch(&n.to_string(), vec![])).collect();
    assert_eq!(lint(&content(vec![yesno("a", branches)])).errors.len(), FINDINGS_MAX);
}

#[test]
fn many_scripts_of_one_call_are_told_no_more_of_than_one() {
    let values: Vec<String> = (0..OPTIONS_MAX).map(|n| format!("{n:03}{}", "a".repeat(60))).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let branches: Vec<Branch> =
        (0..OPTIONS_MAX).map(|n| branch(&format!("{}{n:03}", "b".repeat(60)), vec![])).collect();
    let broken = content(vec![select("a", &values, branches)]);
    let mut room = Room::default();
    let errors: Vec<Vec<Finding>> = (0..50).map(|_| lint_within(&broken, &mut room).errors).collect();
    assert!(errors.iter().all(|errors| !errors.is_empty()), "a broken script was found faultless");
    // Each of the scripts that there was no room for has its one error.
    let told: usize = errors.iter().map(Vec::len).sum();
    assert_eq!(told, FINDINGS_MAX + 45);
    let meant = errors.iter().flatten().filter(|error| error.message.contains("did you mean"));
    assert_eq!(meant.count(), MEANT_MAX);
}

#[test]
fn what_is_unwise_is_a_warning() {
    for (text, warnings) in [
        ("Bonjour {{firstName}}, ici {{agent.name}} !", vec![]),
        ("Reporter dans le CRM", vec![("steps[0].text", "ADMIN_TEXT_IN_SCRIPT")]),
        ("Bon\u{200b}jour", vec![("steps[0].text", "INVISIBLE_CHARACTER")]),
    ] {
        let found = lint(&content(vec![instruction("a", text)]));
        assert_eq!((told(&found.errors), told(&found.warnings)), (vec![], warnings), "{text}");
    }
}

#[test]
fn an_option_that_the_caller_reads_is_looked_at_like_a_text() {
    let mut step = select("a", &["Reporter dans le CRM", "b", "c"], vec![]);
    step.options[1] = Choice::new("b", Some("Noter dans le CRM".into()));
    let found = lint(&content(vec![step]));
    assert_eq!(
        (told(&found.errors), told(&found.warnings)),
        (
            vec![],
            vec![
                ("steps[0].options[0].value", "ADMIN_TEXT_IN_SCRIPT"),
                ("steps[0].options[1].label", "ADMIN_TEXT_IN_SCRIPT"),
            ]
        )
    );
}

#[test]
fn a_language_is_a_tag() {
    for (tag, accepted) in [
        ("fr", true),
        ("en-GB", true),
        ("zh-Hant-TW", true),
        ("gsw", true),
        ("", false),
        ("f", false),
        ("français", false),
        ("fr_FR", false),
        ("fr-", false),
        ("fr-toolongsubtag", false),
        (&format!("fr{}", "-aaaaaaaa".repeat(4)), false),
    ] {
        let mut content = sample();
        content.language = tag.into();
        assert_eq!(lint(&content).errors.is_empty(), accepted, "{tag}");
    }
}
