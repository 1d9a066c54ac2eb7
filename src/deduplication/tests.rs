//! The rules of the deduplication, one test each. How well it does on labelled files is measured, not tested here.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// `first|last|email|phone|company|city|external id`, from the left, as many as are needed.
fn record(key: RecordKey, text: &str) -> Record {
    let mut values = text.split('|').map(|value| Some(value.to_owned()).filter(|value| !value.is_empty()));
    let mut next = || values.next().flatten();
    Record {
        first_name: next(),
        last_name: next(),
        email: next(),
        phone: next(),
        company: next(),
        city: next(),
        external_id: next(),
        ..Record::empty(key)
    }
}

fn rows(texts: &[&str]) -> Vec<Record> {
    (0..).zip(texts).map(|(index, text)| record(RecordKey::Row(index), text)).collect()
}

fn contacts(texts: &[&str]) -> Vec<Record> {
    (0u128..).zip(texts).map(|(id, text)| record(contact(id), text)).collect()
}

fn contact(id: u128) -> RecordKey {
    RecordKey::Contact(Uuid::from_u128(id))
}

fn row(index: u32) -> RecordKey {
    RecordKey::Row(index)
}

fn defaults() -> Options {
    Options::new("FR".parse().unwrap())
}

fn by_all() -> Options {
    Options { match_on: MatchOn::ALL.into(), ..defaults() }
}

fn analysed(row_texts: &[&str], contact_texts: &[&str], options: &Options) -> Analysis {
    analyse(&rows(row_texts), &contacts(contact_texts), options)
}

/// The members and the action of each group.
fn groups(analysis: &Analysis) -> Vec<(Vec<RecordKey>, Action)> {
    analysis.groups.iter().map(|group| (group.members.clone(), group.suggested_action)).collect()
}

#[test]
fn spellings_of_one_address_or_number_are_one_contact() {
    for (one, other) in [
        ("||A@X.com", "||a@x.com "),
        ("||ann@x.com", "||ann+news@x.com"),
        ("||ann@bücher.example", "||ANN@xn--bcher-kva.example"),
        ("|||06 12 34 56 78", "|||+33612345678"),
        ("|||06 12 34 56 78", "|||0033612345678"),
        ("|||+33 (0)6.12.34.56.78", "|||0612345678"),
        ("|||01 23 45 67 89 ext. 12", "|||01.23.45.67.89 poste 12"),
        ("Jean|Dupont||0612345678", "DUPONT|jean||+33 6 12 34 56 78"),
        ("Zoé|Lefèvre|zoe@x.com", "ZOE|LEFEVRE|ZOE@X.COM"),
        ("|||0612345678|Ateliers de l'Ouest SARL", "|||0612345678|ATELIERS DE L'OUEST"),
    ] {
        let analysis = analysed(&[one, other], &[], &defaults());
        assert_eq!(groups(&analysis), [(vec![row(0), row(1)], Action::Merge)], "{one} and {other}");
        assert_eq!(analysis.summary.unique, 1, "{one} and {other}");
        assert_eq!(analysis.summary.duplicates_in_import, 1, "{one} and {other}");
    }
}

#[test]
fn what_only_looks_alike_is_two_contacts() {
    for (one, other) in [
        ("||a.b@gmail.com", "||ab@gmail.com"),
        ("||ann@paypal.com", "||ann@p\u{0430}ypal.com"),
        ("|||06 12 34 56 78", "|||06 12 34 56 79"),
        ("Jean|Dupont|jean@x.com", "Jean|Dupont|jean@y.com"),
        ("||ann@x.com|0612345678", "||bob@x.com|0612345679"),
    ] {
        let analysis = analysed(&[one, other], &[], &defaults());
        let alone = [(vec![row(0)], Action::Create), (vec![row(1)], Action::Create)];
        assert_eq!(groups(&analysis), alone, "{one} and {other}");
        assert_eq!(analysis.summary.unique, 2, "{one} and {other}");
    }
}

#[test]
fn a_tag_makes_another_address_when_it_counts() {
    let options = Options { normalize_plus_tags: false, ..defaults() };
    assert_eq!(analysed(&["||ann@x.com", "||ann+news@x.com"], &[], &options).summary.unique, 2);
}

#[test]
fn a_number_without_a_country_code_is_of_the_default_country() {
    let american = Options::new("US".parse().unwrap());
    let pair = ["|||310/246-1501", "|||+1 310 246 1501"];
    assert_eq!(analysed(&pair, &[], &american).summary.unique, 1);
    assert_eq!(analysed(&pair, &[], &defaults()).summary.invalid, 1);
}

#[test]
fn a_row_without_a_usable_value_is_invalid() {
    let texts = ["Ann|Lee", "||nobody|12", "|||", "||not an address|0612345678", "||ann@x.com"];
    let analysis = analysed(&texts, &[], &defaults());
    let invalid = [
        RowErrors { row_index: 0, errors: vec![RowError::NoKey] },
        RowErrors { row_index: 1, errors: vec![EmailError::NoAt.into(), PhoneError::TooShort.into()] },
        RowErrors { row_index: 2, errors: vec![RowError::NoKey] },
    ];
    assert_eq!(analysis.invalid_rows, invalid);
    // A row that can still be matched by another value is analysed, and says what could not be read.
    assert_eq!(analysis.warnings, [RowErrors { row_index: 3, errors: vec![EmailError::NoAt.into()] }]);
    assert_eq!(groups(&analysis), [(vec![row(3)], Action::Create), (vec![row(4)], Action::Create)]);
    assert_eq!(analysis.summary.invalid, 3);
}

#[test]
fn a_chain_is_one_group_by_all_that_links_it() {
    let texts = ["||ann@x.com", "||ann@x.com|0612345678", "|||+33612345678|||42"];
    let analysis = analysed(&texts, &["||||||42"], &by_all());
    assert_eq!(analysis.groups.len(), 1);
    let group = &analysis.groups[0];
    assert_eq!(group.members, [row(0), row(1), row(2), contact(0)]);
    assert_eq!(group.matched_on, [MatchOn::Email, MatchOn::Phone, MatchOn::ExternalId]);
    assert_eq!(group.suggested_action, Action::Update);
}

#[test]
fn a_chain_between_two_names_is_for_review() {
    let texts = ["Jean|Martin|jean@x.com", "||jean@x.com|0612345678", "Paul|Moreau||0612345678"];
    let analysis = analysed(&texts, &[], &defaults());
    assert_eq!(groups(&analysis), [(vec![row(0), row(1), row(2)], Action::Review)]);
}

#[test]
fn two_people_on_one_number_are_a_question_of_low_confidence() {
    for (one, other) in [
        ("Ann|Lee||0123456789", "Bob|Moreau||0123456789"),
        ("Ann|Lee|ann@x.com|0123456789|Acme", "Bob|Moreau|bob@x.com|0123456789|Acme"),
        // A couple, who share a surname as well.
        ("Jean|Martin||0123456789||Lyon", "Paule|Martin||0123456789||Lyon"),
        ("Jean|Martin||0123456789 ext 1", "Jean|Marchand||0123456789 ext 2"),
    ] {
        let analysis = analysed(&[one, other], &[], &by_all());
        assert_eq!(groups(&analysis), [(vec![row(0), row(1)], Action::Review)], "{one} and {other}");
        assert!(
            analysis.groups[0].confidence < LIKELY,
            "{one} and {other}: {}",
            analysis.groups[0].confidence
        );
        // A question is no claim: both still count as contacts of their own.
        assert_eq!(analysis.summary.unique, 2, "{one} and {other}");
    }
}

#[test]
fn a_household_on_one_number_with_an_address_for_each_is_for_review() {
    for (one, other) in [
        ("Jean|Martin|jean.martin@x.com", "Jean|Martin Jr|junior@x.com"),
        ("Jean|Martin|jean@x.com", "Jean-Paul|Martin|jp@y.com"),
        ("Emma|Martin|emma@x.com", "Emmy|Martin|emmy.martin@x.com"),
        ("John|Harper II|senior@x.com", "John|Harper III|john@y.com"),
        ("J.|Harper|james@x.com", "John|Harper|john@x.com"),
        ("Maria|Lopez|maria@x.com", "Maria|Lopez Garcia|garcia@x.com"),
        ("||info@x.com||Acme Lyon", "||contact@y.com||Acme Metz"),
    ] {
        let with_number = |text: &str| {
            let mut values: Vec<&str> = text.split('|').collect();
            values.resize(5, "");
            values[3] = "0140021133";
            values.join("|")
        };
        let (one, other) = (with_number(one), with_number(other));
        let analysis = analysed(&[&one, &other], &[], &defaults());
        assert!(
            analysis.groups.iter().all(|group| group.suggested_action == Action::Review),
            "{one} and {other}: {:?}",
            analysis.groups
        );
        // Who has the address of neither leads from one to the other.
        let chained = one.split('|').enumerate().map(|(n, value)| if n == 2 { "" } else { value });
        let chained = chained.collect::<Vec<_>>().join("|");
        let analysis = analysed(&[&one, &other, &chained], &[], &defaults());
        let of_other = analysis.groups.iter().find(|group| group.members.contains(&row(1))).unwrap();
        assert_eq!(of_other.suggested_action, Action::Review, "{one} and {other}: {:?}", analysis.groups);
    }
    // One name, or one id, is one contact with two addresses.
    for (one, other) in [
        ("Jean|Martin|jean@x.com|0140021133", "MARTIN|jean|jmartin@y.com|0140021133"),
        ("Jean|Martin|jean@x.com|0140021133|||7", "Jean|Martin Jr|jmartin@y.com|0140021133|||7"),
        ("Jean|Martin|jean.martin@x.com|0140021133", "Jean|Martn|jean.martin@y.com|0140021133"),
    ] {
        let analysis = analysed(&[one, other], &[], &by_all());
        assert_eq!(groups(&analysis), [(vec![row(0), row(1)], Action::Merge)], "{one} and {other}");
    }
}

#[test]
fn a_number_that_a_crowd_shares_asks_no_question() {
    let names = "Ann Bob Claude Dora Emil Fritz Gina Hugo Ida Jules Kurt Lena Maxime Nils Otto Paula Quentin Rosa Sven Theo Urs \
                 Vera";
    let texts: Vec<String> =
        names.split_whitespace().map(|name| format!("{name}|{name}sen||0123456789")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let analysis = analysed(&texts, &[], &defaults());
    assert!(
        analysis.groups.iter().all(|group| group.suggested_action == Action::Create),
        "{:?}",
        analysis.groups
    );
}

#[test]
fn a_switchboard_does_not_hide_the_contact_behind_it() {
    let analysis = analysed(
        &["Ann|Lee|ann@x.com|0123456789", "Bob|Moreau||0123456789"],
        &["Ann|Lee||0123456789"],
        &defaults(),
    );
    assert_eq!(
        groups(&analysis),
        [(vec![row(0), contact(0)], Action::Update), (vec![row(1)], Action::Review)]
    );
    let bob = &analysis.groups[1];
    assert!(bob.confidence < LIKELY && !bob.near.is_empty(), "{bob:?}");
}

#[test]
fn a_row_that_matches_two_contacts_is_for_review() {
    for (text, held) in [
        ("Ann|Lee|ann@x.com|0612345678", ["Ann|Lee|ann@x.com", "Ann|Lee||0612345678"]),
        ("||ann@x.com", ["||ann@x.com", "||ANN@x.com"]),
    ] {
        let analysis = analysed(&[text], &held, &defaults());
        assert_eq!(groups(&analysis), [(vec![row(0), contact(0), contact(1)], Action::Review)], "{text}");
        assert_eq!(analysis.summary.existing_in_crm, 1);
    }
}

#[test]
fn a_contact_that_a_row_matches_less_well_is_shown_and_settled_by_a_person() {
    let held = ["Ann|Lee|ann@x.com|0611111111", "Bob|Moreau|bob@x.com|0622222222"];
    for texts in [&["||ann@x.com|0622222222"][..], &["||ann@x.com|0622222222", "||ann@x.com"]] {
        let analysis = analysed(texts, &held, &defaults());
        assert_eq!(analysis.groups.len(), 1, "{texts:?}");
        let group = &analysis.groups[0];
        assert!(group.members.contains(&contact(0)), "{group:?}");
        assert_eq!((group.suggested_action, &group.near), (Action::Review, &vec![contact(1)]), "{group:?}");
    }
}

#[test]
fn a_row_that_has_what_another_contact_is_known_by_is_for_review_whatever_the_names_say() {
    let ann_and_bob = &["Ann|Lee|ann@x.com|0611111111", "Bob|Moreau|bob@x.com|0622222222||"][..];
    for (texts, held) in [
        (&["Ann|Lee|ann@x.com|0622222222"][..], ann_and_bob),
        (&["Ann|Lee|bob@x.com|0611111111"], ann_and_bob),
        (&["Ann|Lee|ann@x.com|0622222222"], &["Ann|Lee|ann@x.com", "Bob|Moreau||0622222222"]),
        (&["Ann|Lee|ann@x.com||||7"], &["Ann|Lee|ann@x.com", "Bob|Moreau|||||7"]),
        // A mailbox of a company makes nobody likely.
        (&["Ann|Lee|info@x.com|0611111111"], &["Ann|Lee||0611111111", "Bob|Moreau|info@x.com"]),
        // The other contact is another row's.
        (&["Ann|Lee|ann@x.com|0622222222", "Bob|Moreau|bob@x.com"], ann_and_bob),
        // Nobody says who the row is, and its number is two contacts'.
        (
            &["||ann@x.com|0622222222"],
            &["Ann|Lee|ann@x.com", "Bob|Moreau|bob@x.com|0622222222", "Eve|Moreau|eve@x.com|0622222222"],
        ),
        // Two rows are one contact, which is new, and not the one that has the number.
        (&["Ann|Lee|ann@x.com|0622222222", "Ann|Lee|ann@x.com"], &ann_and_bob[1..]),
    ] {
        let analysis = analysed(texts, held, &by_all());
        let group = &analysis.groups[0];
        let near: Vec<_> = (0u128..)
            .zip(held)
            .filter(|(_, text)| !text.starts_with("Ann"))
            .map(|(id, _)| contact(id))
            .collect();
        assert_eq!((group.suggested_action, &group.near), (Action::Review, &near), "{texts:?}: {group:?}");
        assert!(group.confidence > CONFIDENT, "{texts:?}: {group:?}");
        assert!(held.len() == 1 || group.members.contains(&contact(0)), "{texts:?}: {group:?}");
        assert!(
            analysis.groups[1..].iter().all(|other| other.suggested_action == Action::Skip),
            "{texts:?}: {analysis:?}"
        );
    }
}

#[test]
fn what_was_not_asked_for_makes_a_question_of_a_row_that_is_somebody_else_by_it() {
    let held = ["Ann|Lee|ann@x.com|0611111111|||A1", "Bob|Moreau|bob@x.com|0622222222|||B1"];
    let colleagues = ["Ann|Lee|ann@x.com|0611111111", "Bob|Moreau|bob@x.com|0611111111"];
    for (text, held, match_on, expected) in [
        (
            "Ann|Lee|ann@x.com||||B1",
            held,
            &[MatchOn::Email, MatchOn::Phone][..],
            (Action::Review, vec![contact(1)]),
        ),
        ("Ann|Lee|ann@x.com||||B1", held, &[MatchOn::Email], (Action::Review, vec![contact(1)])),
        ("Ann|Lee|ann@x.com|0622222222", held, &[MatchOn::Email], (Action::Review, vec![contact(1)])),
        ("Ann|Lee|bob@x.com||||A1", held, &[MatchOn::ExternalId], (Action::Review, vec![contact(1)])),
        // Nobody by what was asked for, and Bob to a commit.
        ("Bob|Moreau|b@x.com||||B1", held, &[MatchOn::Email], (Action::Review, vec![contact(1)])),
        // Her own.
        ("Ann|Lee|ann@x.com||Acme||A1", held, &[MatchOn::Email], (Action::Update, vec![])),
        // Another one on a number, where numbers were not asked for.
        ("Eve|Sand|eve@x.com|0622222222", held, &[MatchOn::Email], (Action::Create, vec![])),
        ("Ann|Lee|ann@x.com|0611111111|Acme", colleagues, &[MatchOn::Email], (Action::Update, vec![])),
    ] {
        let mut options = defaults();
        options.match_on = match_on.iter().copied().collect();
        let analysis = analysed(&[text], &held, &options);
        let group = &analysis.groups[0];
        assert_eq!(
            (group.suggested_action, group.near.clone()),
            expected,
            "{text} by {match_on:?}: {group:?}"
        );
    }
}

#[test]
fn a_switchboard_is_no_second_match() {
    let crowd: Vec<String> =
        ('a'..'y').map(|name| format!("{name}{name}{name}|{name}sen||0123456789")).collect();
    let crowd: Vec<&str> =
        std::iter::once("Ann|Lee|ann@x.com").chain(crowd.iter().map(String::as_str)).collect();
    for (text, held, action) in [
        // Her contact has the number as well: that the two share it is known.
        (
            "Ann|Lee|ann@x.com|0123456789|Acme",
            &["Ann|Lee|ann@x.com|0123456789", "Bob|Moreau||0123456789"][..],
            Action::Update,
        ),
        (
            "Ann|Lee|ann@x.com|0123456789|Acme",
            &["Ann|Lee|ann@x.com", "Bob|Moreau||0123456789"],
            Action::Review,
        ),
        // Each has an extension, unless it is the other's.
        (
            "Ann|Lee|ann@x.com|0123456789 ext 1",
            &["Ann|Lee|ann@x.com", "Bob|Moreau||0123456789 ext 2"],
            Action::Update,
        ),
        (
            "Ann|Lee|ann@x.com|0123456789 ext 2",
            &["Ann|Lee|ann@x.com|0123456789 ext 1", "Bob|Moreau||0123456789 ext 2"],
            Action::Review,
        ),
        // So many names that it is nobody's own.
        ("Ann|Lee|ann@x.com|0123456789", &crowd, Action::Update),
        ("||ann@x.com|0123456789|Acme", &crowd, Action::Update),
        ("Ann|Lee|ann@x.com|0123456789", &crowd[..5], Action::Review),
    ] {
        let analysis = analysed(&[text], held, &defaults());
        assert_eq!(analysis.groups[0].suggested_action, action, "{text} and {held:?}: {:?}", analysis.groups);
        assert_eq!(analysis.groups[0].near.is_empty(), action == Action::Update, "{text} and {held:?}");
    }
}

#[test]
fn contacts_are_not_joined_by_what_they_hold_alone() {
    let analysis = analysed(&["||bob@x.com"], &["||ann@x.com", "||ann@x.com"], &defaults());
    assert_eq!(groups(&analysis), [(vec![row(0)], Action::Create)]);
}

#[test]
fn a_thousand_identical_rows_are_one_contact() {
    for text in ["||ann@x.com", "|||0612345678", "Ann|Lee||||Paris", "||||Acme", "Ann|||||"] {
        let texts = vec![text; 1000];
        let analysis = analysed(&texts, &[], &by_all());
        assert_eq!(analysis.groups.len(), 1, "{text}");
        assert_eq!(analysis.groups[0].members.len(), 1000, "{text}");
        assert_eq!(analysis.summary.unique, 1, "{text}");
        assert_eq!(analysis.summary.duplicates_in_import, 999, "{text}");
    }
    // A bare name says too little to merge by, even a thousand times.
    assert_eq!(analysed(&["||||Acme"; 2], &[], &by_all()).groups[0].suggested_action, Action::Review);
}

#[test]
fn the_action_follows_from_what_the_group_holds() {
    for (texts, held, action) in [
        (&["||ann@x.com"][..], &[][..], Action::Create),
        (&["||ann@x.com", "||ANN@x.com"], &[], Action::Merge),
        (&["Ann|Lee|ann@x.com"], &["Ann|Lee|ann@x.com|0612345678"], Action::Skip),
        (&["Ann|Lee|ann@x.com|0612345678"], &["Ann|Lee|ann@x.com"], Action::Update),
        (&["||ann@x.com", "Ann|Lee|ann@x.com"], &["||ann@x.com"], Action::Update),
        (&["Ann|Lee|ann@x.com"], &["Bob|Moreau|ann@x.com"], Action::Review),
    ] {
        let analysis = analysed(texts, held, &defaults());
        assert_eq!(analysis.groups.len(), 1, "{texts:?} and {held:?}");
        assert_eq!(analysis.groups[0].suggested_action, action, "{texts:?} and {held:?}");
    }
}

#[test]
fn who_must_not_be_contacted_is_skipped_and_counted() {
    let mut held = contacts(&["||ann@x.com"]);
    held[0].suppressed = true;
    held[0].in_campaign = true;
    let mut imported = rows(&["Ann|Lee|ann@x.com", "||bob@x.com", "||carl@x.com"]);
    imported[1].suppressed = true;
    let analysis = analyse(&imported, &held, &defaults());
    let actions: Vec<Action> = analysis.groups.iter().map(|group| group.suggested_action).collect();
    assert_eq!(actions, [Action::Skip, Action::Skip, Action::Create]);
    let expected = Summary {
        rows: 3,
        unique: 2,
        existing_in_crm: 1,
        in_campaigns: 1,
        suppressed: 2,
        ..Summary::default()
    };
    assert_eq!(analysis.summary, expected);
}

#[test]
fn a_name_merges_only_with_a_witness() {
    for (one, other, action) in [
        ("Jean|Dupont|||Acme SARL", "DUPOND|Jean|||Acme", Action::Merge),
        ("Jean|Dupont||||Lyon", "Jean|Dupont||||lyon", Action::Merge),
        ("||||Ateliers Vaugirard||||", "||||Vaugirard, Ateliers||||", Action::Review),
        ("|||01 42 68 53 00|Ateliers Vaugirard", "|||0142685300|Les Ateliers Vaugirard SAS", Action::Merge),
        ("Jean|Dupont", "jean|dupont", Action::Review),
        // Two branches of one business are in one city.
        ("||||Ateliers Vaugirard|Paris", "||||Les Ateliers Vaugirad SAS|PARIS", Action::Review),
        // Something speaks against it.
        ("Jean|Dupont||0612345678|Acme", "Jean|Dupont||0687654321|Acme", Action::Review),
        ("Jean|Dupont|jean@x.com||Acme", "Jean|Dupont|dupont@y.com||Acme", Action::Review),
        ("||||Ateliers Vaugirard|Paris", "||||Ateliers Vaugirard|Marseille", Action::Review),
    ] {
        let analysis = analysed(&[one, other], &[], &by_all());
        assert_eq!(groups(&analysis)[0].1, action, "{one} and {other}: {:?}", analysis.groups);
    }
}

#[test]
fn names_that_contradict_each_other_are_not_one() {
    for (one, other) in [
        ("Jean|Dupont|||Acme|Lyon", "Paul|Dupont|||Acme|Lyon"),
        ("Marc|Martin||||Lyon", "Marcel|Martinez||||Lyon"),
        ("||||Acme Logistique|Lyon", "||||Zenith Logistique|Lyon"),
        ("||||Bistro 45|Paris", "||||Bistro 46|Paris"),
        ("||||Acme|Lyon", "||||\u{0410}cme|Lyon"),
    ] {
        let analysis = analysed(&[one, other], &[], &by_all());
        assert!(
            analysis.groups.iter().all(|group| group.suggested_action == Action::Create),
            "{one} and {other}: {:?}",
            analysis.groups
        );
    }
}

#[test]
fn the_forms_of_one_number_are_one_number() {
    for (one, other) in [
        ("Ann|Lee||+54 9 11 2345 6789", "Ann|Lee||+54 11 2345 6789"),
        ("Ann|Lee||+55 11 98765 4321", "Ann|Lee||+55 11 8765 4321"),
    ] {
        let analysis = analysed(&[one, other], &[], &defaults());
        let matched: Vec<_> = analysis.groups.iter().map(|group| group.matched_on.clone()).collect();
        assert_eq!(matched, [[MatchOn::Phone]], "{one} and {other}");
    }
}

#[test]
fn what_was_not_asked_for_proposes_nothing_but_is_weighed() {
    let only_name = Options { match_on: BTreeSet::from([MatchOn::NameCompany]), ..defaults() };
    let same_phone = ["Ann|Lee||0612345678", "Bob|Moreau||0612345678"];
    assert_eq!(analysed(&same_phone, &[], &only_name).summary.unique, 2);
    let analysis = analysed(&["Ann|Lee||0612345678", "Ann|Lee||0612345678|Acme"], &[], &only_name);
    assert_eq!(analysis.groups[0].matched_on, [MatchOn::NameCompany]);
    assert_eq!(analysis.groups[0].suggested_action, Action::Merge);
}

#[test]
fn a_group_is_called_by_its_members_alone() {
    let ids = |texts: &[&str]| -> Vec<GroupId> {
        analysed(texts, &[], &defaults()).groups.iter().map(|group| group.group_id).collect()
    };
    let few = ids(&["||ann@x.com", "||ann@x.com"]);
    let more = ids(&["||ann@x.com", "||ann@x.com", "||bob@x.com"]);
    assert_eq!(few[0], more[0]);
    assert_ne!(more[0], more[1]);
    assert_eq!(few[0].to_string().len(), 32);
}

#[test]
fn an_answer_looks_like_this_on_the_wire() {
    let analysis = analysed(&["Ann|Lee|ann@x.com", "|"], &["||ann@x.com"], &defaults());
    let json = serde_json::to_value(&analysis).unwrap();
    assert_eq!(json["summary"]["existingInCrm"], 1);
    assert_eq!(json["groups"][0]["members"][0]["rowIndex"], 0);
    assert_eq!(json["groups"][0]["members"][1]["contactId"], Uuid::nil().to_string());
    assert_eq!(json["groups"][0]["matchedOn"][0], "email");
    assert_eq!(json["groups"][0]["suggestedAction"], "update");
    assert_eq!(json["invalidRows"][0]["rowIndex"], 1);
    assert_eq!(json["invalidRows"][0]["errors"][0], "row has none of the values to match on");
}

#[test]
fn a_cell_without_end_costs_no_more_than_its_length() {
    let long = "a".repeat(100_000);
    let words = "ab ".repeat(30_000);
    let texts: Vec<String> = (0..20).map(|i| format!("{long}|{long}{i}|||{words}|{long}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // Finishes at all: comparing such words letter by letter would take minutes.
    assert_eq!(analysed(&texts, &[], &by_all()).summary.rows, 20);
}

fn some_record() -> impl Strategy<Value = String> {
    let of = |values: &'static [&'static str]| proptest::sample::select(values);
    (
        of(&["", "Ann", "ann", "Anne", "Bob", "Jean-Luc", "J.", "\u{0410}nn"]),
        of(&["", "Lee", "LEE", "Li", "Moreau", "Moraeu", "de la Tour"]),
        of(&["", "ann@x.com", "ANN@x.com", "ann+a@x.com", "info@x.com", "bad", "bob@x.com"]),
        of(&["", "0612345678", "+33 6 12 34 56 78", "0123456789", "0123456789 ext 4", "12"]),
        of(&["", "Acme", "Acme SARL", "The Acme Company", "Zenith"]),
        of(&["", "Paris", "Lyon", "Lyon 3e"]),
        of(&["", "1", "2"]),
    )
        .prop_map(|(first, last, email, phone, company, city, id)| {
            [first, last, email, phone, company, city, id].join("|")
        })
}

proptest! {
    #[test]
    fn every_row_is_counted_once_and_grouped_once(
        imported in proptest::collection::vec(some_record(), 0..25),
        held in proptest::collection::vec(some_record(), 0..12),
    ) {
        let imported: Vec<&str> = imported.iter().map(String::as_str).collect();
        let held: Vec<&str> = held.iter().map(String::as_str).collect();
        let (rows, contacts) = (rows(&imported), contacts(&held));
        let options = by_all();
        let analysis = analyse(&rows, &contacts, &options);
        let Summary { rows: all, unique, duplicates_in_import, existing_in_crm, in_campaigns, invalid, suppressed } =
            analysis.summary;
        prop_assert_eq!(all, rows.len() as u64);
        prop_assert_eq!(all, unique + duplicates_in_import + existing_in_crm + invalid);
        prop_assert!(in_campaigns <= existing_in_crm && suppressed <= unique + existing_in_crm);

        let mut seen: Vec<RecordKey> = analysis.groups.iter().flat_map(|group| group.members.clone()).collect();
        seen.extend(analysis.invalid_rows.iter().map(|invalid| RecordKey::Row(invalid.row_index)));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), count, "a record is in two groups");
        prop_assert_eq!(seen.iter().filter(|key| matches!(key, RecordKey::Row(_))).count(), rows.len());

        // Whoever is grouped could have been found by a key: the candidates are all that the engine needs.
        for group in &analysis.groups {
            prop_assert!((0.0..=1.0).contains(&group.confidence));
            let keys = |key: &RecordKey| -> Vec<MatchKey> {
                let record = rows.iter().chain(&contacts).find(|record| record.key == *key);
                record.map(|record| match_keys(record, &options)).unwrap_or_default()
            };
            for member in group.members.iter().filter(|_| group.members.len() > 1) {
                let own = keys(member);
                let found = group.members.iter().any(|other| other != member && keys(other).iter().any(|key| own.contains(key)));
                prop_assert!(found, "{:?} shares no key", member);
            }
        }

        prop_assert_eq!(analyse(&rows, &contacts, &options), analysis, "the same input, another answer");
    }

    #[test]
    fn whoever_has_the_address_or_the_id_of_two_contacts_is_for_review(
        imported in proptest::collection::vec(some_record(), 1..10),
        held in proptest::collection::vec(some_record(), 2..6),
    ) {
        let imported: Vec<&str> = imported.iter().map(String::as_str).collect();
        let held: Vec<&str> = held.iter().map(String::as_str).collect();
        let (rows, contacts) = (rows(&imported), contacts(&held));
        let options = by_all();
        let named_by = |record: &Record| -> Vec<MatchKey> {
            let keys = match_keys(record, &options).into_iter();
            keys.filter(|key| matches!(key.match_on(), MatchOn::Email | MatchOn::ExternalId)).collect()
        };
        for group in &analyse(&rows, &contacts, &options).groups {
            for row in rows.iter().filter(|row| group.members.contains(&row.key)) {
                let keys = named_by(row);
                let matched: Vec<RecordKey> = contacts
                    .iter()
                    .filter(|contact| named_by(contact).iter().any(|key| keys.contains(key)))
                    .map(|contact| contact.key)
                    .collect();
                let told = |contact: &RecordKey| group.members.contains(contact) || group.near.contains(contact);
                prop_assert!(matched.iter().all(told), "{matched:?} of {row:?} in {group:?}");
                prop_assert!(matched.len() < 2 || group.suggested_action == Action::Review, "{row:?} in {group:?}");
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(
        (imported, turned) in proptest::collection::vec(some_record(), 1..14)
            .prop_flat_map(|texts| (Just(texts.clone()), Just(texts).prop_shuffle())),
    ) {
        let sizes = |texts: &[String]| -> Vec<(usize, Action, u64)> {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let analysis = analysed(&texts, &[], &by_all());
            let mut sizes: Vec<_> = analysis
                .groups
                .iter()
                .map(|group| (group.members.len(), group.suggested_action, (group.confidence * 1000.0) as u64))
                .collect();
            sizes.sort_by_key(|(members, action, confidence)| (*members, format!("{action:?}"), *confidence));
            sizes
        };
        prop_assert_eq!(sizes(&imported), sizes(&turned));
    }
}

#[test]
fn an_analysis_that_is_given_up_ends_between_two_records() {
    let texts: Vec<String> =
        (0..1_000).map(|n| format!("||||Acme {}", ["Lyon", "Metz", "Nice"][n % 3])).collect();
    let texts: Vec<String> = texts.into_iter().enumerate().map(|(n, text)| format!("{text}||{n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for most in [0, 1, 500] {
        let mut analyser = Analyser::new(by_all());
        analyser.rows(&rows(&texts));
        let asked = AtomicUsize::new(0);
        let given_up = || asked.fetch_add(1, Ordering::Relaxed) >= most;
        assert_eq!(analyser.finish(&given_up, |group| panic!("{group:?}")), None);
        assert!((most..most + 20).contains(&asked.into_inner()), "whoever is asked is heeded");
    }
}
