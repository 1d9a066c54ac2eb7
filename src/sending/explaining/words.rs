//! Names of closed sets in words.

use docket_aggregates::judgement::HeldBack;
use docket_aggregates::message::Reason;
use docket_aggregates::sending_control::PauseScope;

/// The code of a hand-over of which no answer says what became of it: there was none, or it says something else.
pub const NO_ANSWER: &str = "no_answer";
/// The code of a hand-over whose process ended before an answer was recorded.
pub const INTERRUPTED: &str = "interrupted";

/// A reason, as it reads on after "because"; what a channel says has its own names, of which `docs/channels.md` tells.
pub fn reason(name: &str) -> String {
    match (Reason::ALL.into_iter().find(|reason| reason.name() == name), name) {
        (Some(reason), _) => reason.sentence().to_owned(),
        (None, NO_ANSWER) => "no answer says whether it was taken".to_owned(),
        (None, INTERRUPTED) => "the process that held it ended before an answer was recorded".to_owned(),
        (None, name) => format!("the channel said {name}"),
    }
}

/// What a message waits for, as a name of a closed set, and as it reads on after "because". `why` is what was said of a
/// pause.
pub fn held_back(by: HeldBack, why: Option<&str>) -> (&'static str, String) {
    match by {
        HeldBack::Paused(scope) => ("paused", pause(scope, why)),
        HeldBack::ModuleOff => {
            ("module_off", "the outbound CRM module is switched off for the company".to_owned())
        }
        HeldBack::SequencePaused => {
            ("sequence_paused", "the sequence that it is a step of is paused".to_owned())
        }
        HeldBack::CampaignPaused => {
            ("campaign_paused", "the campaign that its sequence leads through is paused".to_owned())
        }
    }
}

/// What is paused, as it reads on after "because".
fn pause(scope: PauseScope, why: Option<&str>) -> String {
    let what = match scope {
        PauseScope::All => "sending is paused for the whole company",
        PauseScope::Outbox(_) => "sending is paused for its outbox",
        PauseScope::Campaign(_) => "sending is paused for its campaign",
        PauseScope::Agent(_) => "sending is paused for whoever drafted it",
    };
    match why {
        Some(why) => format!("{what} ({why})"),
        None => what.to_owned(),
    }
}
