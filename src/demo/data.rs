//! The sample organization that `docket demo` loads: 20 000 rows of contacts in three files, fifteen
//! callers, twelve campaigns with their calls and promises, and mails at every stage.
//!
//! This module makes data and touches nothing: a moment in, data out, the same on every machine. The files
//! do not depend on the moment at all; of the campaigns, only dates do. Whoever loads it goes through the
//! product's own doors (import, commit, add by filter, assign, call), as any customer would.
//!
//! Nothing in it can reach anybody: domains are reserved by RFC 2606 (`.example`, `example.com`, `.net`,
//! `.org`), telephone numbers by the regulators of four countries. Names are composed; a likeness is
//! chance.

mod agents;
mod campaigns;
mod cities;
mod companies;
mod dice;
mod forms;
mod mess;
mod names;
mod people;
mod phones;
mod population;
mod scripts;
mod sends;
mod sheets;

use std::ops::Add;

use jiff::Timestamp;
use jiff::civil::Date;

use self::dice::Dice;
pub use self::sends::{
    DemoLetter, DemoOutbox, DemoPiece, DemoRecipient, DemoRule, DemoSends, DemoSequence, LetterThen,
};

/// Everything that the demo loads.
pub struct DemoData {
    /// Whose contacts and campaigns these are.
    pub organization: DemoOrganization,
    /// To be imported and committed in this order: later files hold doubles of people in earlier ones.
    pub imports: Vec<DemoImport>,
    /// Fifteen callers.
    pub agents: Vec<DemoAgent>,
    /// What they go through on the telephone, in two languages.
    pub scripts: Vec<DemoScript>,
    /// What they want to know of a contact.
    pub forms: Vec<DemoForm>,
    /// To be loaded in this order, each whole (create, activate, add, assign, call, then its final status).
    /// Somebody who asks in one campaign not to be called again is then no longer called in a later one.
    pub campaigns: Vec<DemoCampaign>,
    /// Mails, and what decides about them.
    pub sends: DemoSends,
}

/// An outreach agency of Lyon that calls for renovation, energy and IT firms.
pub struct DemoOrganization {
    /// For people.
    pub name: &'static str,
    /// For addresses.
    pub slug: &'static str,
    /// The mailbox of its owner.
    pub owner_email: &'static str,
}

/// A file and what is said of it when it is handed in.
pub struct DemoImport {
    /// The import folder's name.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// The stored name of a ground of GDPR article 6(1).
    pub legal_basis: &'static str,
    /// A file as its sender would save it; separator, encoding, headings and signs are listed in
    /// `data/sheets.rs`.
    pub csv: Vec<u8>,
    /// What was put into this file on purpose.
    pub counts: DemoCounts,
}

/// What was put into a file on purpose. Each row counts as at most one kind of double or invalid row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DemoCounts {
    /// Rows without the heading.
    pub rows: usize,
    /// Rows without any usable key: no e-mail and no telephone, or broken ones only.
    pub unusable: usize,
    /// Rows with one good key and a broken other: invalid to a strict reader, a contact to a lenient one.
    pub damaged: usize,
    /// Doubles with the same e-mail address but for case and surrounding spaces; the telephone may differ.
    pub doubles_by_email: usize,
    /// Doubles whose e-mail address differs by a `+tag` alone; they carry no telephone.
    pub doubles_by_plus_tag: usize,
    /// Doubles with the same telephone typed in another way; the e-mail address differs or is missing.
    pub doubles_by_phone: usize,
    /// Doubles that share nothing but name and company, accents and case aside.
    pub doubles_by_name_and_company: usize,
    /// Other people who share a colleague's telephone, each with a name and an e-mail address of their own.
    /// No doubles: whoever takes a telephone for a person loses this many.
    pub shared_switchboard: usize,
    /// Rows that say not to be contacted, each of another person.
    pub opt_outs: usize,
    /// Those of `opt_outs` that stand in a double by e-mail, while the first row of the person does not say
    /// it.
    pub opt_outs_on_doubles: usize,
}

impl DemoCounts {
    /// Rows invalid to a strict reader.
    pub fn invalid(&self) -> usize {
        self.unusable + self.damaged
    }

    /// Rows about somebody who has a row already.
    pub fn doubles(&self) -> usize {
        self.doubles_by_email
            + self.doubles_by_plus_tag
            + self.doubles_by_phone
            + self.doubles_by_name_and_company
    }
}

impl Add for DemoCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            unusable: self.unusable + other.unusable,
            damaged: self.damaged + other.damaged,
            doubles_by_email: self.doubles_by_email + other.doubles_by_email,
            doubles_by_plus_tag: self.doubles_by_plus_tag + other.doubles_by_plus_tag,
            doubles_by_phone: self.doubles_by_phone + other.doubles_by_phone,
            doubles_by_name_and_company: self.doubles_by_name_and_company + other.doubles_by_name_and_company,
            shared_switchboard: self.shared_switchboard + other.shared_switchboard,
            opt_outs: self.opt_outs + other.opt_outs,
            opt_outs_on_doubles: self.opt_outs_on_doubles + other.opt_outs_on_doubles,
        }
    }
}

/// A caller, human or not.
pub struct DemoAgent {
    /// Names the caller within the sample.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// At the organization's own domain.
    pub email: String,
    /// `team_lead`, `caller` or `ai_caller`.
    pub role: &'static str,
    /// False for callers who have left; no campaign names them.
    pub active: bool,
}

/// A call script.
pub struct DemoScript {
    /// Names the script within the sample.
    pub key: &'static str,
    /// As `create_script_template` takes it.
    pub template: serde_json::Value,
}

/// A qualification template.
pub struct DemoForm {
    /// Names the form within the sample.
    pub key: &'static str,
    /// As `create_qualification_template` takes it.
    pub template: serde_json::Value,
}

/// What a caller found out about one contact.
pub struct DemoQualification {
    /// Index into the members, as for calls.
    pub nth_member: usize,
    /// Answers by the keys of the form's fields.
    pub answers: serde_json::Value,
    /// The name of the status in the API.
    pub status: &'static str,
}

/// What a caller captured of one contact.
pub struct DemoExecution {
    /// Index into the members, as for calls.
    pub nth_member: usize,
    /// In the order of the call: the node, and what was recorded.
    pub answers: &'static [(&'static str, &'static str)],
    /// Where it stands.
    pub end: ExecutionEnd,
}

/// Where a run through a script stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionEnd {
    /// It will go on with the next call.
    Open,
    /// Everything that was required is answered.
    Completed,
    /// The contact did not want to go on.
    Abandoned,
}

impl ExecutionEnd {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "in_progress",
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A campaign, whom it is for and what was done in it.
pub struct DemoCampaign {
    /// Names the campaign within the sample.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// What it is about, in its own language.
    pub description: &'static str,
    /// When it has succeeded.
    pub goal: &'static str,
    /// The status it ends in, once its contacts and calls are there.
    pub final_status: CampaignStatus,
    /// How often and when its contacts may be called.
    pub settings: DemoSettings,
    /// Active callers only.
    pub agent_keys: &'static [&'static str],
    /// Before today, but for drafts.
    pub start_date: Date,
    /// Later than the start.
    pub end_date: Option<Date>,
    /// Its contacts.
    pub selection: DemoSelection,
    /// None: nobody has been told yet.
    pub assignment: Option<DemoAssignment>,
    /// What its callers go through.
    pub script_key: Option<&'static str>,
    /// The oldest first.
    pub calls: Vec<DemoCall>,
    /// What was captured on the way.
    pub executions: Vec<DemoExecution>,
    /// What its callers want to know.
    pub form_key: Option<&'static str>,
    /// What they found out.
    pub qualifications: Vec<DemoQualification>,
}

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CampaignStatus {
    /// Being prepared.
    Draft,
    /// Calls are made.
    Active,
    /// No calls for now.
    Paused,
    /// Over.
    Completed,
    /// Over and put away.
    Archived,
}

/// The rules of a campaign's calls.
pub struct DemoSettings {
    /// Unanswered calls before a contact counts as unreachable; no story of the sample reaches it.
    pub max_attempts: u8,
    /// When contacts may be called.
    pub call_window: CallWindow,
}

/// `HH:MM` to `HH:MM` in a time zone of the IANA database.
pub struct CallWindow {
    /// The first minute of it.
    pub start: &'static str,
    /// The first minute after it.
    pub end: &'static str,
    /// Such as `Europe/Paris`.
    pub tz: &'static str,
}

/// A filter that always finds more than `max_contacts` contacts, whatever the reader makes of doubles and
/// case.
#[derive(Clone, Copy)]
pub struct DemoSelection {
    /// Index into `imports`.
    pub import: Option<usize>,
    /// The town, spelled as it should be.
    pub city: Option<&'static str>,
    /// A tag in the language of the file.
    pub tag: Option<&'static str>,
    /// The size of the campaign.
    pub max_contacts: usize,
}

/// The first so many members, dealt out in turn. The rest stay without a caller.
pub struct DemoAssignment {
    /// How many.
    pub members: usize,
    /// In the order in which they are dealt.
    pub agent_keys: &'static [&'static str],
}

/// A call that was made.
pub struct DemoCall {
    /// Index into the members in any fixed order that begins with the assigned ones.
    pub nth_member: usize,
    /// The caller of that member if members were dealt out in turn; if not, the member's own caller is to
    /// be preferred.
    pub agent_key: &'static str,
    /// How it ended.
    pub outcome: CallOutcome,
    /// When it began. No two calls of a caller overlap.
    pub minutes_before_now: u32,
    /// At most fourteen minutes.
    pub duration_seconds: u32,
    /// What the caller wrote down, in the language of the campaign.
    pub note: Option<&'static str>,
    /// With `Callback`, and with no other outcome.
    pub follow_up: Option<DemoFollowUp>,
}

/// How a call ended, and the status in which it leaves the contact of the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallOutcome {
    /// `in_progress`, as all up to `Reached` but `Callback`.
    NoAnswer,
    /// The line was busy.
    Busy,
    /// A machine answered.
    Voicemail,
    /// `unreachable`, as `Unreachable` itself.
    WrongNumber,
    /// `follow_up`, while the follow-up that comes with it is open.
    Callback,
    /// Spoken to; nothing is decided.
    Reached,
    /// Wants what the campaign offers: the status of this name, as for the rest.
    Qualified,
    /// Does not.
    NotInterested,
    /// Asked not to be called again, in any campaign.
    DoNotContact,
    /// Cannot be reached at all.
    Unreachable,
    /// The work on the contact is done.
    Done,
}

/// A promise to call again.
pub struct DemoFollowUp {
    /// Always after the call; negative when the moment is past.
    pub due_in_minutes: i64,
    /// What happened to it afterwards.
    pub then: FollowUpThen,
}

/// What became of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUpThen {
    /// Still open: pending, or overdue when its moment is past.
    None,
    /// It was kept: the contact's next call follows it.
    Done,
    /// The contact wants no more calls.
    Cancelled,
}

impl CampaignStatus {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Archived => "archived",
        }
    }
}

impl CallOutcome {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Busy => "busy",
            Self::Voicemail => "voicemail",
            Self::WrongNumber => "wrong_number",
            Self::Callback => "callback",
            Self::Reached => "reached",
            Self::Qualified => "qualified",
            Self::NotInterested => "not_interested",
            Self::DoNotContact => "do_not_contact",
            Self::Unreachable => "unreachable",
            Self::Done => "done",
        }
    }
}

/// Any other number gives another sample of the same make.
const SEED: u64 = 0x646f_636b_6574;

const IMPORTS: [(&str, &str, &str); 3] = [
    ("Salons et annuaires 2019-2024", "Fichier commercial repris de l'ancien CRM", "legitimate_interests"),
    ("Partner export", "Shared list of the installers' network", "legitimate_interests"),
    ("Formulaire du site", "Demandes de devis en ligne", "consent"),
];

/// The whole sample, as it stands at `now`.
pub fn demo_data(now: Timestamp) -> DemoData {
    let imports = population::sheets(SEED)
        .into_iter()
        .zip(IMPORTS)
        .enumerate()
        .map(|(sheet, (entries, (name, source, legal_basis)))| {
            let counts = population::counts(&entries);
            let rows: Vec<_> = entries.into_iter().map(|entry| entry.row).collect();
            let csv = sheets::write(&mut Dice::new(SEED, name), sheet, &rows);
            DemoImport { name, source, legal_basis, csv, counts }
        })
        .collect();
    let agents = agents::AGENTS.map(|(key, name, role, active)| DemoAgent {
        key,
        name,
        email: format!("{key}@{DOMAIN}"),
        role,
        active,
    });
    DemoData {
        organization: DemoOrganization {
            name: "Traboule Prospection",
            slug: "traboule-prospection",
            owner_email: "camille@traboule-prospection.example",
        },
        imports,
        agents: agents.into(),
        scripts: scripts::scripts(),
        forms: forms::forms(),
        campaigns: campaigns::campaigns(SEED, now),
        sends: sends::SENDS,
    }
}

/// The domain of the sample organization's own people.
pub const DOMAIN: &str = "traboule-prospection.example";

impl DemoData {
    /// What was put into all files together.
    pub fn counts(&self) -> DemoCounts {
        self.imports.iter().fold(DemoCounts::default(), |sum, import| sum + import.counts)
    }

    /// The contacts there are after all commits, to a reader that refuses rows with a broken key and takes
    /// two rows for one person when they share an e-mail address (`+tag` aside) or a telephone, unless both
    /// are named differently and have an address each. A reader that keeps the good half of a damaged row
    /// finds `damaged` more.
    pub fn contacts(&self) -> usize {
        let counts = self.counts();
        counts.rows - counts.invalid() - (counts.doubles() - counts.doubles_by_name_and_company)
    }
}

#[cfg(test)]
mod tests;
