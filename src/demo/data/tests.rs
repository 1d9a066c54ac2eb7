//! What the sample promises as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::*;

const NOW: &str = "2025-11-20T14:37:12Z";

/// Made once: without optimisation it takes half a second.
static SAMPLE: LazyLock<DemoData> = LazyLock::new(|| at(NOW));

fn at(now: &str) -> DemoData {
    demo_data(now.parse().expect("a timestamp"))
}

fn campaigns_at(now: &str) -> Vec<DemoCampaign> {
    campaigns::campaigns(SEED, now.parse().expect("a timestamp"))
}

#[test]
fn the_same_moment_gives_the_same_bytes() {
    let (one, two) = (&*SAMPLE, at(NOW));
    for (one, two) in one.imports.iter().zip(&two.imports) {
        assert!(one.csv == two.csv, "{}", one.name);
    }
    for (one, two) in one.campaigns.iter().zip(&two.campaigns) {
        let [one, two] = [one, two].map(|campaign| {
            let call = |call: &DemoCall| (call.nth_member, call.outcome, call.minutes_before_now, call.note);
            campaign.calls.iter().map(call).collect::<Vec<_>>()
        });
        assert_eq!(one, two);
    }
}

/// Whoever changes a list of names changes these on purpose.
#[test]
fn the_files_are_the_same_on_every_machine_and_at_every_moment() {
    let hash = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    for now in [NOW, "2031-02-03T04:05:06Z"] {
        let hashes: Vec<_> =
            at(now).imports.iter().map(|import| format!("{:016x}", hash(&import.csv))).collect();
        assert_eq!(hashes, ["76627fbba0daf781", "ee8112134b2c995f", "ac7d9dd9ba3cbb51"]);
    }
}

#[test]
fn the_totals_are_exact() {
    let data = &*SAMPLE;
    let rows: Vec<_> = data.imports.iter().map(|import| import.counts.rows).collect();
    assert_eq!(rows, [12_400, 5_600, 2_000]);
    let counts = DemoCounts {
        rows: 20_000,
        unusable: 220,
        damaged: 80,
        doubles_by_email: 250,
        doubles_by_plus_tag: 80,
        doubles_by_phone: 220,
        doubles_by_name_and_company: 50,
        shared_switchboard: 120,
        opt_outs: 200,
        opt_outs_on_doubles: 20,
    };
    assert_eq!(data.counts(), counts);
    assert_eq!((counts.invalid(), counts.doubles(), data.contacts()), (300, 600, 19_150));
}

/// A second opinion on the counts: an importer of twenty lines, which knows nothing but the files.
#[test]
fn a_plain_importer_finds_what_was_put_in() {
    let data = &*SAMPLE;
    let mut emails = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut found = DemoCounts::default();
    for (sheet, import) in data.imports.iter().enumerate() {
        for line in lines(sheet, &import.csv) {
            found.rows += 1;
            found.opt_outs += usize::from(line.opted_out());
            let email = line.email.trim().to_lowercase();
            let plain = match (email.find('+'), email.find('@')) {
                (Some(plus), Some(at)) if plus < at => format!("{}{}", &email[..plus], &email[at..]),
                _ => email.clone(),
            };
            let email_good = valid_email(&email);
            let phone = phones::e164(&line.phone);
            match (email_good, phone.is_some()) {
                (false, false) => found.unusable += 1,
                (false, true) if !email.is_empty() => found.damaged += 1,
                (true, false) if !line.phone.is_empty() => found.damaged += 1,
                _ => {
                    let whole =
                        (!line.first.trim().is_empty() && !line.last.is_empty() && !line.company.is_empty())
                            .then(|| [&line.first, &line.last, &line.company].map(|name| names::ascii(name)));
                    let namesake = whole.as_ref().is_some_and(|whole| names.contains(whole));
                    if email_good && emails.contains_key(&plain) {
                        if emails[&plain] == email {
                            found.doubles_by_email += 1;
                        } else {
                            found.doubles_by_plus_tag += 1;
                        }
                    } else if phone.as_ref().is_some_and(|phone| numbers.contains(phone)) {
                        found.doubles_by_phone += 1;
                    } else if namesake {
                        found.doubles_by_name_and_company += 1;
                    } else {
                        names.extend(whole);
                    }
                    if email_good {
                        emails.entry(plain).or_insert(email);
                    }
                    numbers.extend(phone);
                }
            }
        }
    }
    let meant = data.counts();
    // From outside, a colleague at the switchboard looks like a double by telephone.
    let meant = DemoCounts {
        doubles_by_phone: meant.doubles_by_phone + meant.shared_switchboard,
        shared_switchboard: 0,
        opt_outs_on_doubles: 0,
        ..meant
    };
    assert_eq!(found, meant);
}

#[test]
fn nothing_in_the_files_can_reach_anybody() {
    let data = &*SAMPLE;
    let mut addresses = 0;
    for (sheet, import) in data.imports.iter().enumerate() {
        for cell in records(sheet, &import.csv).iter().flatten() {
            for domain in cell.split('@').skip(1) {
                addresses += 1;
                assert!(reserved(domain.trim()), "{cell}");
            }
        }
    }
    assert!(addresses > 17_000);
    let lines = data.imports.iter().enumerate().flat_map(|(sheet, import)| lines(sheet, &import.csv));
    for number in lines.filter_map(|line| phones::e164(&line.phone)) {
        assert!(FICTIONAL.iter().any(|range| number.starts_with(range)), "{number}");
    }
    assert!(reserved(data.organization.owner_email.rsplit('@').next().unwrap_or_default()));
    assert!(data.agents.iter().all(|agent| reserved(agent.email.rsplit('@').next().unwrap_or_default())));
}

#[test]
fn every_file_is_what_its_sender_would_save() {
    let data = &*SAMPLE;
    let [french, partner, form] = [0, 1, 2].map(|sheet| &data.imports[sheet].csv);
    assert!(str::from_utf8(french).is_err() && french.starts_with(b"R\xe9f.;Civilit\xe9;"));
    assert!(
        str::from_utf8(partner)
            .is_ok_and(|text| text.starts_with("External ID,Company,") && !text.contains('\r'))
    );
    assert!(form.starts_with(&[0xff, 0xfe]) && form.ends_with(&[b'\r', 0, b'\n', 0]));
    for (sheet, import) in data.imports.iter().enumerate() {
        let records = records(sheet, &import.csv);
        assert_eq!(records.len(), import.counts.rows + 1, "{}", import.name);
        assert!(records.iter().all(|record| record.len() == records[0].len()));
        // Cells that a careless reader splits: a line break, a quote, a separator.
        for sign in ['\n', [';', ',', '!'][sheet]] {
            assert!(records.iter().flatten().any(|cell| cell.contains(sign)), "{}: {sign:?}", import.name);
        }
        assert!(!records.iter().flatten().any(|cell| cell.contains("&#")), "a sign that the encoding lacks");
    }
}

#[test]
fn the_mess_is_there() {
    let data = &*SAMPLE;
    let lines: Vec<_> =
        data.imports.iter().enumerate().flat_map(|(sheet, import)| lines(sheet, &import.csv)).collect();
    let some = |what: &str, wanted: std::ops::RangeInclusive<usize>, is: &dyn Fn(&Line) -> bool| {
        let found = lines.iter().filter(|line| is(line)).count();
        assert!(wanted.contains(&found), "{what}: {found}");
    };
    some("company in capitals", 400..=900, &|line| {
        line.company.len() > 3
            && line.company == line.company.to_uppercase()
            && line.company.chars().any(char::is_alphabetic)
    });
    some("name with a space at its end", 200..=700, &|line| line.last.ends_with(' '));
    some("no first name", 600..=2_500, &|line| line.first.is_empty());
    some("no e-mail", 1_500..=3_000, &|line| line.email.is_empty());
    some("no telephone", 2_000..=4_500, &|line| line.phone.is_empty());
    some("no tag", 2_000..=4_000, &|line| line.tags.is_empty());
    some("shared mailbox", 150..=2_000, &|line| line.email.to_lowercase().trim().starts_with("contact@"));
    some("text that was decoded wrongly", 5..=200, &|line| {
        [&line.first, &line.last, &line.company].iter().any(|name| name.contains('Ã'))
    });
    some("Lyon", 1_500..=6_000, &|line| line.city == "Lyon");
    some("Lyon in another way", 100..=700, &|line| {
        line.city != "Lyon" && line.city.to_lowercase().starts_with("lyon")
    });
    some("a mobile number", 4_000..=7_000, &|line| {
        phones::e164(&line.phone).is_some_and(|number| number.starts_with("+336"))
    });
    some("a number abroad", 900..=1_500, &|line| {
        phones::e164(&line.phone).is_some_and(|number| !number.starts_with("+33"))
    });
}

#[test]
fn three_of_fifteen_callers_have_left() {
    let data = &*SAMPLE;
    assert_eq!(data.agents.len(), 15);
    assert_eq!(data.agents.iter().filter(|agent| !agent.active).count(), 3);
    for distinct in [|agent: &DemoAgent| agent.key.to_owned(), |agent: &DemoAgent| agent.email.clone()] {
        assert_eq!(data.agents.iter().map(distinct).collect::<BTreeSet<_>>().len(), 15);
    }
}

#[test]
fn twelve_campaigns_have_every_status_and_only_callers_who_work() {
    let data = &*SAMPLE;
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    let working: BTreeSet<_> =
        data.agents.iter().filter(|agent| agent.active).map(|agent| agent.key).collect();
    let mut busy = BTreeSet::new();
    for campaign in &data.campaigns {
        *statuses.entry(campaign.final_status.name()).or_default() += 1;
        busy.extend(campaign.agent_keys);
        assert!(campaign.agent_keys.iter().all(|key| working.contains(key)), "{}", campaign.key);
        assert!(
            campaign.calls.iter().all(|call| campaign.agent_keys.contains(&call.agent_key)),
            "{}",
            campaign.key
        );
        assert!(campaign.end_date.is_none_or(|end| end > campaign.start_date), "{}", campaign.key);
    }
    assert_eq!(busy, working);
    let meant = [("active", 5), ("archived", 1), ("completed", 2), ("draft", 2), ("paused", 2)];
    assert_eq!(statuses, BTreeMap::from(meant));
    assert_eq!(data.campaigns.iter().map(|campaign| campaign.key).collect::<BTreeSet<_>>().len(), 12);
}

#[test]
fn a_selection_finds_more_than_its_maximum() {
    let data = &*SAMPLE;
    let sheets = population::sheets(SEED);
    let mut refused = 0;
    for campaign in &data.campaigns {
        let selection = campaign.selection;
        let import = selection.import.expect("every selection of the sample names a file");
        let found = sheets[import]
            .iter()
            .filter(|entry| matches!(entry.kind, population::Kind::Person))
            .map(|entry| &entry.row)
            .filter(|row| !row.opted_out && selection.city.is_none_or(|city| row.city == city))
            .filter(|row| {
                selection.tag.is_none_or(|tag| {
                    row.tags.iter().any(|(french, english)| tag == *french || tag == *english)
                })
            })
            .count();
        // A double may opt somebody out, and somebody may have asked an earlier campaign for no more calls.
        let sure = found - refused - data.counts().opt_outs_on_doubles;
        assert!(sure >= selection.max_contacts, "{}: {sure} of {}", campaign.key, selection.max_contacts);
        refused += campaign.calls.iter().filter(|call| call.outcome == CallOutcome::DoNotContact).count();
    }
}

#[test]
fn an_active_campaign_has_contacts_in_each_of_the_nine_statuses() {
    for now in MOMENTS {
        for campaign in
            campaigns_at(now).iter().filter(|campaign| campaign.final_status == CampaignStatus::Active)
        {
            let assigned = campaign.assignment.as_ref().map_or(0, |assignment| assignment.members);
            let mut last = BTreeMap::new();
            for call in &campaign.calls {
                last.insert(call.nth_member, call);
            }
            let mut statuses = BTreeMap::from([
                ("new", campaign.selection.max_contacts.saturating_sub(assigned)),
                ("assigned", assigned.saturating_sub(last.len())),
            ]);
            for call in last.values() {
                let open = call.follow_up.as_ref().is_some_and(|promise| promise.then == FollowUpThen::None);
                let status = match call.outcome {
                    CallOutcome::NoAnswer
                    | CallOutcome::Busy
                    | CallOutcome::Voicemail
                    | CallOutcome::Reached => "in_progress",
                    CallOutcome::Callback if open => "follow_up",
                    CallOutcome::Callback => continue,
                    CallOutcome::WrongNumber => "unreachable",
                    ends => ends.name(),
                };
                *statuses.entry(status).or_default() += 1;
            }
            assert_eq!(statuses.len(), 9, "{}: {statuses:?}", campaign.key);
            assert!(statuses.values().all(|count| *count >= 3), "{}: {statuses:?}", campaign.key);
        }
    }
}

#[test]
fn promises_are_pending_overdue_done_and_cancelled() {
    for now in MOMENTS {
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for campaign in campaigns_at(now) {
            for call in &campaign.calls {
                assert_eq!(call.follow_up.is_some(), call.outcome == CallOutcome::Callback);
                let Some(promise) = &call.follow_up else { continue };
                assert!(
                    promise.due_in_minutes > -i64::from(call.minutes_before_now),
                    "due before it was promised"
                );
                let kind = match promise.then {
                    FollowUpThen::Done => "done",
                    FollowUpThen::Cancelled => "cancelled",
                    FollowUpThen::None if promise.due_in_minutes > 0 => "pending",
                    FollowUpThen::None => "overdue",
                };
                *kinds.entry(kind).or_default() += 1;
                let over =
                    matches!(campaign.final_status, CampaignStatus::Completed | CampaignStatus::Archived);
                assert!(!over || promise.then != FollowUpThen::None, "{}: open when over", campaign.key);
            }
        }
        assert_eq!(kinds.len(), 4, "{kinds:?}");
        assert!(kinds.values().all(|count| *count >= 20), "{kinds:?}");
    }
}

#[test]
fn nobody_is_called_after_the_end_or_by_a_caller_on_the_line() {
    const ENDS: [CallOutcome; 6] = [
        CallOutcome::WrongNumber,
        CallOutcome::Qualified,
        CallOutcome::NotInterested,
        CallOutcome::DoNotContact,
        CallOutcome::Unreachable,
        CallOutcome::Done,
    ];
    for now in MOMENTS {
        let mut busy: BTreeMap<&str, Vec<(u32, u32)>> = BTreeMap::new();
        for campaign in campaigns_at(now) {
            let mut ended = BTreeSet::new();
            let assigned = campaign.assignment.as_ref().map_or(0, |assignment| assignment.members);
            assert!(campaign.calls.is_sorted_by_key(|call| std::cmp::Reverse(call.minutes_before_now)));
            for call in &campaign.calls {
                assert!(call.nth_member < assigned, "{}: a call without an assignment", campaign.key);
                assert!(!ended.contains(&call.nth_member), "{}: a call after the end", campaign.key);
                if ENDS.contains(&call.outcome) {
                    ended.insert(call.nth_member);
                }
                let over = call.duration_seconds.div_ceil(60);
                assert!(call.minutes_before_now >= over, "a call that is not over yet");
                busy.entry(call.agent_key).or_default().push((call.minutes_before_now, over));
            }
        }
        for calls in busy.values_mut() {
            calls.sort_unstable_by(|one, two| two.cmp(one));
            assert!(calls.windows(2).all(|pair| pair[0].0 - pair[0].1 >= pair[1].0));
        }
    }
}

#[test]
fn calls_fall_into_office_hours() {
    for now in MOMENTS {
        let moment: Timestamp = now.parse().expect("a timestamp");
        for call in campaigns_at(now).iter().flat_map(|campaign| &campaign.calls) {
            let begun = moment.as_second().div_euclid(60) - i64::from(call.minutes_before_now);
            let (day, minute) = (begun.div_euclid(1_440), begun.rem_euclid(1_440));
            assert!((day + 3).rem_euclid(7) < 5, "{now}: a call on a weekend");
            assert!(
                (480..600).contains(&minute) || (780..925).contains(&minute),
                "{now}: a call at {minute}"
            );
        }
    }
}

#[test]
fn no_moment_is_too_early_or_too_late() {
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
        assert_eq!(campaigns::campaigns(SEED, now).len(), 12);
    }
}

/// The ranges that ARCEP, Ofcom, Bundesnetzagentur and the North American numbering plan keep for fiction.
#[rustfmt::skip]
const FICTIONAL: [&str; 17] = [
    "+3319900", "+3326191", "+3335301", "+3346571", "+3353649", "+3363998",
    "+442079460", "+441214960", "+441614960", "+441134960", "+447700900",
    "+493023125", "+494066969", "+498999998", "+492214710",
    "+121255501", "+161755501",
];

/// A working day, its early morning, a Saturday, a Monday before office hours, a change of the year.
const MOMENTS: [&str; 5] =
    [NOW, "2026-03-31T03:00:00Z", "2025-08-16T18:00:30Z", "2025-06-02T06:15:00Z", "2026-01-01T00:00:00Z"];

struct Line {
    first: String,
    last: String,
    company: String,
    email: String,
    phone: String,
    city: String,
    tags: String,
    opt_out: String,
}

impl Line {
    fn opted_out(&self) -> bool {
        matches!(self.opt_out.to_lowercase().as_str(), "oui" | "x" | "yes" | "true" | "1")
    }
}

fn lines(sheet: usize, csv: &[u8]) -> Vec<Line> {
    let columns = [
        [
            "Prénom",
            "Nom",
            "Raison sociale",
            "Adresse e-mail",
            "Téléphone",
            "Ville",
            "Étiquettes",
            "Ne pas contacter",
        ],
        ["First Name", "Last Name", "Company", "Email", "Phone", "City", "Tags", "Do Not Contact"],
        ["Prénom", "Nom", "Société", "Courriel", "Tél.", "Ville", "Tags", "Désinscrit"],
    ][sheet];
    let mut records = records(sheet, csv);
    let head = records.remove(0);
    let places = columns.map(|name| head.iter().position(|cell| cell == name).expect("a heading"));
    records
        .into_iter()
        .map(|record| {
            let [first, last, company, email, phone, city, tags, opt_out] =
                places.map(|place| record[place].clone());
            Line { first, last, company, email, phone, city, tags, opt_out }
        })
        .collect()
}

fn records(sheet: usize, csv: &[u8]) -> Vec<Vec<String>> {
    let encoding = [encoding_rs::WINDOWS_1252, encoding_rs::UTF_8, encoding_rs::UTF_16LE][sheet];
    let (text, _, broken) = encoding.decode(csv);
    assert!(!broken);
    csv::ReaderBuilder::new()
        .delimiter(b";,\t"[sheet])
        .has_headers(false)
        .from_reader(text.as_bytes())
        .records()
        .map(|record| record.expect("a record of the same length").iter().map(str::to_owned).collect())
        .collect()
}

fn valid_email(email: &str) -> bool {
    let Some((mailbox, domain)) = email.split_once('@') else { return false };
    let plain =
        |text: &str, more: &str| text.chars().all(|sign| sign.is_ascii_alphanumeric() || more.contains(sign));
    !mailbox.is_empty()
        && plain(mailbox, ".+-")
        && domain.contains('.')
        && plain(domain, ".-")
        && domain.split('.').all(|label| !label.is_empty())
}

/// Whether a domain, or what somebody took for one, is kept for examples by RFC 2606.
fn reserved(domain: &str) -> bool {
    let domain = domain.to_lowercase().replace(',', ".");
    domain.is_empty()
        || domain.ends_with(".example")
        || ["example.com", "example.net", "example.org"]
            .iter()
            .any(|free| domain.strip_suffix(free).is_some_and(|host| host.is_empty() || host.ends_with('.')))
}

#[test]
fn every_script_is_sound_and_every_run_goes_through_it() {
    use docket_aggregates::Decides as _;
    use docket_aggregates::ids::{CampaignId, ContactId, ScriptExecutionId, ScriptTemplateId};
    use docket_aggregates::membership::Stay;
    use docket_aggregates::script_execution::{
        AnswerMode, ExecutionStatus, GivenAnswer, ScriptExecution, ScriptExecutionCommand,
    };
    use docket_aggregates::script_template::{Lint, ScriptContent, lint};

    let data = &*SAMPLE;
    let scripts: BTreeMap<&str, ScriptContent> = data
        .scripts
        .iter()
        .map(|script| (script.key, serde_json::from_value(script.template.clone()).unwrap()))
        .collect();
    for (key, content) in &scripts {
        assert_eq!(lint::lint(content), Lint::default(), "{key}");
    }
    assert!(scripts.values().any(|script| script.language == "fr"));
    assert!(scripts.values().any(|script| script.language.starts_with("en")));

    let mut ends = BTreeMap::new();
    for campaign in &data.campaigns {
        let Some(key) = campaign.script_key else {
            assert!(campaign.executions.is_empty());
            continue;
        };
        let steps = std::sync::Arc::new(scripts[key].steps.clone());
        for run in &campaign.executions {
            let start = ScriptExecutionCommand::Start {
                execution_id: ScriptExecutionId::default(),
                stay: Stay { campaign_id: CampaignId::default(), contact_id: ContactId::default(), epoch: 1 },
                agent_id: None,
                script_template_id: ScriptTemplateId::default(),
                script_template_version: 1,
                at: docket_aggregates::Timestamp::default(),
            };
            let mut execution = ScriptExecution::default();
            for event in execution.decide(start).unwrap() {
                cqrs_es::Aggregate::apply(&mut execution, event);
            }
            let given: Vec<GivenAnswer> = run
                .answers
                .iter()
                .map(|(node, value)| GivenAnswer { node_id: (*node).into(), value: (*value).into() })
                .collect();
            let weighed = execution.weigh(&steps, &given, AnswerMode::Merge).unwrap();
            assert!(weighed.not_on_path.is_empty(), "{key} {:?}", run.answers);
            let status =
                ExecutionStatus::ALL.into_iter().find(|status| status.name() == run.end.name()).unwrap();
            let record = ScriptExecutionCommand::Record {
                steps: steps.clone(),
                given,
                mode: AnswerMode::Merge,
                status,
                at: docket_aggregates::Timestamp::default(),
            };
            assert!(execution.decide(record).is_ok(), "{key} {:?}", run.answers);
            *ends.entry(run.end.name()).or_insert(0) += 1;
        }
        if campaign.final_status == CampaignStatus::Active {
            let open = campaign.executions.iter().filter(|run| run.end == ExecutionEnd::Open);
            assert!(open.count() > 1, "{}", campaign.key);
        }
    }
    assert!(ends.len() == 3 && ends.values().all(|count| *count >= 10), "{ends:?}");
}

#[test]
fn every_form_is_one_and_every_answer_fits_it() {
    use docket_aggregates::qualification_template::Answers;

    let data = &*SAMPLE;
    let mut statuses = BTreeMap::new();
    for campaign in &data.campaigns {
        let Some(key) = campaign.form_key else {
            assert!(campaign.qualifications.is_empty());
            continue;
        };
        let form = data.forms.iter().find(|form| form.key == key).unwrap();
        let form = crate::tools::form_of_document(form.template.clone()).unwrap();
        for one in &campaign.qualifications {
            let given = one.answers.as_object().unwrap();
            let answers = form.answered(&Answers::new(), given).unwrap();
            let whole = form.missing(&answers).is_empty();
            assert!(whole || one.status != "qualified", "{key} {}", one.answers);
            let reaches = form.score(&answers).and_then(|score| form.reaches(score));
            assert!(
                reaches != Some(false) || one.status != "qualified",
                "{key} {}: a verdict that its score speaks against",
                one.answers
            );
            *statuses.entry(one.status).or_insert(0) += 1;
        }
    }
    assert!(statuses.len() == 3 && statuses.values().all(|count| *count >= 10), "{statuses:?}");
}

#[test]
fn every_mail_is_from_and_to_somebody_and_reaches_nobody() {
    let data = at("2026-11-22T10:00:00Z");
    let sends = &data.sends;
    let agent =
        |key: &str| assert!(data.agents.iter().any(|agent| agent.key == key && agent.active), "{key}");
    let campaign = |key: &str| {
        let found = data.campaigns.iter().find(|campaign| campaign.key == key);
        assert!(found.is_some_and(|found| found.final_status == CampaignStatus::Active), "{key}");
    };
    let outbox = |key: &str| assert!(sends.outboxes.iter().any(|outbox| outbox.key == key), "{key}");
    for letter in sends.letters {
        agent(letter.agent);
        campaign(letter.campaign);
        outbox(letter.outbox);
        match letter.piece {
            None => assert!(!letter.text.is_empty()),
            Some(key) => assert!(sends.pieces.iter().any(|piece| piece.key == key), "{key}"),
        }
        if let DemoRecipient::Address(address) = letter.to {
            assert!(reserved(address.split_once('@').unwrap().1), "{address}");
        }
    }
    agent(sends.sequence.author);
    campaign(sends.sequence.campaign);
    outbox(sends.sequence.outbox);
    assert!(sends.allowed.iter().all(|entry| reserved(entry.strip_prefix('@').unwrap())));
    assert!(reserved(DOMAIN));
    let waiting = sends.letters.iter().filter(|letter| letter.then == LetterThen::Waits).count();
    assert_eq!(waiting, 4);
}
