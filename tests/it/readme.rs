//! The README, taken at its word: its commands are pasted into a shell beside a fresh demo.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use docket::clock::Clock;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Separates the answers of one block from those of the next.
const END_OF_BLOCK: &str = "---- end of block";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between fences of that language, in order.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(code, _)| code.to_owned())
        .collect()
}

/// A demo that runs until it is dropped.
pub struct Demo {
    process: Child,
    pub told: Value,
}

impl Demo {
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    /// The same with settings in its environment.
    pub fn start_with(data_dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_docket"))
            .envs(settings.iter().copied())
            .args(["demo", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It ends before it prints, or it prints: either way this line comes.
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).expect("the demo prints one JSON object when it is ready");
        Self { process, told }
    }

    fn environment(&self) -> &str {
        self.told["envFile"].as_str().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        // A demo that is told to stop stops its PostgreSQL; one that is killed leaves that to the kernel.
        let told = Command::new("kill").args(["-TERM", &id]).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// A folder that the private PostgreSQL's user may pass through.
pub fn data_dir() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    }
    folder
}

#[test]
fn what_the_documentation_says_works_when_it_is_pasted() {
    let folder = data_dir();
    let demo = Demo::start(folder.path());
    mails_are_at_every_stage(&demo);
    for (page, examples) in [("README.md", 11), ("docs/agents.md", 3)] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let blocks = blocks(&text, "bash");
        assert!(blocks.len() >= examples, "{page} has lost its examples");
        paste(&demo, &blocks);
    }
    nothing_that_can_be_filled_is_empty(&demo);
    the_ledger_is_whole(&demo);
}

/// Pastes the blocks into one shell; each answers with JSON, and every answer is a success.
fn paste(demo: &Demo, blocks: &[String]) {
    let mut script = String::from("set -euo pipefail\nsource \"$1\"\n");
    for block in blocks {
        script.push_str(&format!("{block}\nprintf '\\n{END_OF_BLOCK}\\n'\n"));
    }
    let run = Command::new("bash")
        .args(["-c", &script, "bash", demo.environment()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let answers = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{answers}");

    let mut answered = answers.split(END_OF_BLOCK);
    for block in blocks {
        let answers: Vec<Value> = serde_json::Deserializer::from_str(answered.next().unwrap())
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{block}\nanswers with something else than JSON: {error}"));
        assert!(!answers.is_empty(), "{block}\nanswers nothing");
        for answer in answers {
            if ["crm ", "crm()", "DOCKET_MAILBOX_URL"].iter().any(|company| block.contains(company)) {
                // The company's own routes answer with what was asked for, and with a status that ends the shell.
                let empty = answer.as_array().is_some_and(Vec::is_empty);
                assert!(!empty && answer.get("error").is_none(), "{block}\nanswers {answer}");
            } else {
                assert_eq!(answer["success"], true, "{block}\nanswers {answer}");
            }
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} of {value} is no text"))
}

/// What a person finds who looks at the demo's mails: sent ones in the mailbox, others waiting, refused, or answered.
fn mails_are_at_every_stage(demo: &Demo) {
    let get = |url: String| -> Value {
        let token = text(&demo.told["tokens"], "super-admin");
        let run = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--header"])
            .args([&format!("Authorization: Bearer {token}"), &url])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(run.status.success(), "{url}: {}", String::from_utf8_lossy(&run.stdout));
        serde_json::from_slice(&run.stdout).unwrap()
    };
    let told = |field: &str| text(&demo.told, field);
    let crm =
        |rest: &str| get(format!("{}/api/companies/{}/crm/{rest}", told("url"), told("organizationId")));
    let count = |path: &str| crm(path).as_array().unwrap().len();

    let mails = get(format!("{}/mails", told("mailboxUrl")));
    let mails = mails.as_array().unwrap();
    assert_eq!(mails.len(), count("activities?status=sent"));
    assert_eq!(Some(mails.len() as u64), demo.told["mails"].as_u64());
    for mail in mails {
        let to = text(mail, "to");
        let domain = to.rsplit('@').next().unwrap();
        let reserved = ["example", "example.com", "example.net", "example.org"];
        assert!(reserved.iter().any(|one| domain == *one || domain.ends_with(&format!(".{one}"))), "{to}");
        let unsubscribe = text(mail, "unsubscribe");
        assert!(unsubscribe.starts_with(told("url")), "{unsubscribe}");
    }
    assert_eq!(count("approvals?status=pending"), 4);
    assert_eq!(count("approvals?status=approved"), 1);
    assert_eq!(count("approvals?status=rejected"), 1);
    assert_eq!(count("activities?status=blocked_by_allowlist"), 1);
    // Many asked on the telephone not to be contacted; one unsubscribed who had got a mail.
    let suppressed = crm("suppressions?limit=500");
    let addresses: BTreeSet<&str> = mails.iter().map(|mail| text(mail, "to")).collect();
    let unsubscribed = suppressed.as_array().unwrap().iter();
    let unsubscribed =
        unsubscribed.filter(|entry| entry["address"].as_str().is_some_and(|one| addresses.contains(one)));
    assert_eq!(unsubscribed.count(), 1);
    let paris = TimeZone::get("Europe/Paris").unwrap();
    let day = |at: jiff::Timestamp| at.to_zoned(paris.clone()).date();
    let today = || day(Clock::system().now().jiff());
    let sent_on = |date| mails.iter().filter(|mail| day(text(mail, "date").parse().unwrap()) == date).count();
    let (before, outboxes, after) = (today(), crm("outboxes"), today());
    for outbox in outboxes.as_array().unwrap() {
        let (used, cap) = (outbox["usedToday"].as_u64().unwrap(), outbox["dailyCap"].as_u64().unwrap());
        assert!(used < cap, "{outbox}");
        // Unless midnight passes in this moment.
        assert!(before != after || used == sent_on(after) as u64, "{outbox}");
    }
    let sequence = text(&demo.told["senders"], "DOCKET_SEQUENCE");
    let stopped = crm(&format!("sequences/{sequence}/enrollments?state=stopped"));
    let mut because: Vec<_> = stopped.as_array().unwrap().iter().map(|one| text(one, "because")).collect();
    because.sort_unstable();
    assert_eq!(because, ["replied", "unsubscribed"]);
    assert!(count(&format!("sequences/{sequence}/enrollments?state=active")) > 1);
}

/// Whoever does not trust the demo can check its ledger.
fn the_ledger_is_whole(demo: &Demo) {
    let told = |field: &str| text(&demo.told, field);
    let run = Command::new(env!("CARGO_BIN_EXE_docket"))
        .args(["verify", "--data-dir", told("dataDir"), "--organization", told("organizationId")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// The overview of the demo has no count that is zero.
fn nothing_that_can_be_filled_is_empty(demo: &Demo) {
    let told = &demo.told;
    let run = Command::new("curl")
        .args(["--silent", "--fail-with-body", "--header", "Content-Type: application/json", "--header"])
        .arg(format!("Authorization: Bearer {}", told["tokens"]["super-admin"].as_str().unwrap()))
        .arg("--data")
        .arg(format!(r#"{{"organizationId": {}, "input": {{}}}}"#, told["organizationId"]))
        .arg(format!("{}/crm/agent/tools/get_crm_workspace_overview", told["url"].as_str().unwrap()))
        .output()
        .unwrap();
    let overview: Value = serde_json::from_slice(&run.stdout).unwrap();
    fn look(path: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    look(&format!("{path}.{name}"), value);
                }
            }
            count => assert!(count.as_u64().is_some_and(|count| count > 0), "{path} is {count}"),
        }
    }
    look("counts", &overview["data"]["counts"]);
    look("agents", &overview["data"]["agents"]);
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let root = root();
    let folder = |path: PathBuf| {
        std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "md"))
    };
    let pages = folder(root.clone()).chain(folder(root.join("docs"))).chain(folder(root.join("docs/adr")));
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{} links to {target}", page.display());
            links += 1;
        }
    }
    assert!(links > 10);
}
