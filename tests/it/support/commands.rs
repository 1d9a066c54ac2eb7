//! Commands for the ledger, from the smallest events there are.

use docket::app::App;
use docket::ledger::{Command, Guard, Lane, Origin, Request, Stream, Write};
use docket_aggregates::campaign::{Campaign, CampaignEvent, CampaignSettings, CampaignStatus, CampaignText};
use docket_aggregates::follow_up::{FollowUp, FollowUpEvent};
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::{AnyEvent, Personal};
use serde_json::json;
use uuid::Uuid;

/// A follow-up's stream.
pub fn stream(id: Uuid) -> Stream {
    Stream::of::<FollowUp>(id)
}

/// The smallest event: it holds nothing personal and names nobody.
pub fn tick() -> AnyEvent {
    FollowUpEvent::FollowUpDone {}.into()
}

/// `count` ticks on a stream that has `expected` events.
pub fn ticks(id: Uuid, expected: u64, count: usize) -> Write {
    Write { stream: stream(id), expected, events: vec![tick(); count] }
}

/// A guard on a stream of ticks.
pub fn guard(id: Uuid, version: u64) -> Guard {
    Guard { stream: stream(id), version }
}

/// A campaign's first event, with a sealed name.
pub fn campaign(id: CampaignId, name: &str) -> Write {
    let text = CampaignText { name: name.into(), description: None, goal: None };
    let created = CampaignEvent::CampaignCreated {
        campaign_id: id,
        text: Personal::known(id.uuid(), text),
        status: CampaignStatus::Draft,
        script_template_id: None,
        qualification_template_id: None,
        agent_ids: vec![],
        start_date: None,
        end_date: None,
        settings: CampaignSettings::default(),
    };
    Write { stream: Stream::of::<Campaign>(id), expected: 0, events: vec![created.into()] }
}

/// A command under a fresh id.
pub fn command(app: &App, organization: OrganizationId, writes: Vec<Write>) -> Command {
    Command {
        id: app.clock.mint(),
        organization,
        at: app.clock.now(),
        origin: Origin::system("test"),
        writes,
        guards: vec![],
        absent: vec![],
        counted_at: None,
        request: None,
        lane: Lane::Normal,
    }
}

/// A request under that id, about that input; its answer names the command.
pub fn request(id: &str, input: &str, answer: impl serde::Serialize) -> Option<Request> {
    Some(Request {
        request_id: id.into(),
        alias: None,
        input: input.into(),
        answer: json!({ "answer": answer }).to_string(),
    })
}
