//! Twelve campaigns and what their callers did.
//!
//! A call is drawn from a *story*: what happened between a caller and a contact, in order. An active
//! campaign has every kind of story, so that each of the nine statuses of a contact occurs several times.
//! No call follows an outcome that ends the matter. Calls fall on working days, in hours that are office
//! hours in Paris and in London, in summer and in winter, and nobody is on two calls at once.
//!
//! Days and hours are counted in UTC by plain arithmetic, so that no time zone database has a say in the
//! sample.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::dice::Dice;
use super::{
    CallOutcome, CallWindow, CampaignStatus, DemoAssignment, DemoCall, DemoCampaign, DemoFollowUp,
    DemoSelection, DemoSettings, FollowUpThen, forms, scripts,
};

struct Plan {
    key: &'static str,
    name: &'static str,
    description: &'static str,
    goal: &'static str,
    status: CampaignStatus,
    max_attempts: u8,
    tz: &'static str,
    script: Option<&'static str>,
    agents: &'static [&'static str],
    /// First and last day, counted from today.
    days: (i32, Option<i32>),
    selection: DemoSelection,
    /// How many members are assigned, and how many of those are called at least.
    assigned: usize,
    called: usize,
    /// The working days before today between which its calls fall, the later one first.
    calling: (usize, usize),
}

const fn from(
    import: usize,
    city: Option<&'static str>,
    tag: Option<&'static str>,
    max_contacts: usize,
) -> DemoSelection {
    DemoSelection { import: Some(import), city, tag, max_contacts }
}

/// In the order in which they are to be loaded: what is over comes first.
const PLANS: [Plan; 12] = [
    Plan {
        key: "chaudieres-fioul",
        name: "Chaudières fioul : remplacement",
        description: "Entreprises de chauffage de la vallée du Rhône, offre de sous-traitance. Close et classée.",
        goal: "30 accords de sous-traitance",
        status: CampaignStatus::Archived,
        max_attempts: 4,
        tz: "Europe/Paris",
        script: Some("energie"),
        agents: &["camille", "thomas", "anne-laure"],
        days: (-190, Some(-120)),
        selection: from(0, None, Some("chauffage"), 250),
        assigned: 250,
        called: 60,
        calling: (88, 130),
    },
    Plan {
        key: "salon-habitat",
        name: "Salon de l'habitat : relance des visiteurs",
        description: "Tous les contacts pris sur le stand, rappelés dans les trois semaines.",
        goal: "Un rendez-vous pour dix appels",
        status: CampaignStatus::Completed,
        max_attempts: 3,
        tz: "Europe/Paris",
        script: Some("relance"),
        agents: &["yasmine", "ines", "jerome", "maelle"],
        days: (-95, Some(-60)),
        selection: from(0, None, Some("salon-habitat"), 700),
        assigned: 700,
        called: 140,
        calling: (44, 66),
    },
    Plan {
        key: "formulaire",
        name: "Formulaire du site : premiers rappels",
        description: "Demandes reçues par le formulaire, à rappeler sous deux jours ouvrés.",
        goal: "Qualifier chaque demande",
        status: CampaignStatus::Completed,
        max_attempts: 5,
        tz: "Europe/Paris",
        script: Some("relance"),
        agents: &["sophie", "mehdi", "lumen"],
        days: (-60, Some(-30)),
        selection: from(2, None, None, 500),
        assigned: 450,
        called: 110,
        calling: (22, 41),
    },
    Plan {
        key: "isolation",
        name: "Isolation des combles : réseau de pose",
        description: "Artisans de l'isolation, à gagner pour le réseau de pose de l'automne.",
        goal: "25 artisans partenaires avant la fin du trimestre",
        status: CampaignStatus::Active,
        max_attempts: 5,
        tz: "Europe/Paris",
        script: Some("reseau-de-pose"),
        agents: &["camille", "yasmine", "thomas", "ines"],
        days: (-28, Some(45)),
        selection: from(0, None, Some("isolation"), 420),
        assigned: 260,
        called: 170,
        calling: (0, 19),
    },
    Plan {
        key: "pac-grenoble",
        name: "Pompes à chaleur : Grenoble et alentours",
        description: "Chauffagistes et bureaux d'études de la cuvette grenobloise.",
        goal: "15 visites techniques",
        status: CampaignStatus::Active,
        max_attempts: 4,
        tz: "Europe/Paris",
        script: Some("energie"),
        agents: &["jerome", "sophie", "anne-laure"],
        days: (-21, Some(30)),
        selection: from(0, Some("Grenoble"), None, 400),
        assigned: 300,
        called: 150,
        calling: (0, 14),
    },
    Plan {
        key: "coproprietes",
        name: "Copropriétés : audit énergétique",
        description: "Syndics et conseils syndicaux avant les assemblées générales : audit, puis plan de travaux.",
        goal: "60 audits vendus",
        status: CampaignStatus::Active,
        max_attempts: 6,
        tz: "Europe/Paris",
        script: Some("energie"),
        agents: &["mehdi", "anne-laure", "luca", "maelle", "lumen"],
        days: (-40, None),
        selection: from(0, None, Some("copropriété"), 900),
        assigned: 600,
        called: 260,
        calling: (0, 24),
    },
    Plan {
        key: "toitures-solaires",
        name: "Photovoltaïque : toitures d'entreprise",
        description: "Installateurs et exploitants de grandes toitures, offre d'étude gratuite.",
        goal: "40 études de toiture",
        status: CampaignStatus::Active,
        max_attempts: 4,
        tz: "Europe/Paris",
        script: Some("energie"),
        agents: &["thomas", "ines", "luca", "camille"],
        days: (-18, Some(60)),
        selection: from(0, None, Some("photovoltaïque"), 600),
        assigned: 420,
        called: 160,
        calling: (0, 12),
    },
    Plan {
        key: "london-heat-pumps",
        name: "Heat pumps: London installers",
        description: "Installers and estates in London who asked our partner for French suppliers.",
        goal: "10 supplier meetings",
        status: CampaignStatus::Active,
        max_attempts: 3,
        tz: "Europe/London",
        script: Some("supplier-introduction"),
        agents: &["rachel", "lumen"],
        days: (-14, Some(40)),
        selection: from(1, Some("London"), None, 190),
        assigned: 180,
        called: 90,
        calling: (0, 9),
    },
    Plan {
        key: "bornes",
        name: "Bornes de recharge : parkings d'entreprise",
        description: "Suspendue en attendant le nouveau barème d'aides.",
        goal: "20 devis signés",
        status: CampaignStatus::Paused,
        max_attempts: 4,
        tz: "Europe/Paris",
        script: Some("energie"),
        agents: &["jerome", "maelle", "luca"],
        days: (-50, Some(20)),
        selection: from(0, None, Some("bornes-de-recharge"), 400),
        assigned: 240,
        called: 80,
        calling: (9, 30),
    },
    Plan {
        key: "collectivites",
        name: "Collectivités : décret tertiaire",
        description: "Mairies, collèges et centres hospitaliers. Suspendue pendant le vote des budgets.",
        goal: "12 conventions",
        status: CampaignStatus::Paused,
        max_attempts: 5,
        tz: "Europe/Paris",
        script: Some("energie"),
        agents: &["sophie", "camille"],
        days: (-45, None),
        selection: from(0, None, Some("collectivité"), 450),
        assigned: 150,
        called: 60,
        calling: (12, 28),
    },
    Plan {
        key: "berlin",
        name: "Wärmepumpen: Hausverwaltungen in Berlin",
        description: "Noch im Entwurf: Liste des Partners, Leitfaden auf Deutsch fehlt.",
        goal: "Markt prüfen",
        status: CampaignStatus::Draft,
        max_attempts: 3,
        tz: "Europe/Berlin",
        script: None,
        agents: &["luca", "rachel"],
        days: (14, Some(75)),
        selection: from(1, Some("Berlin"), None, 60),
        assigned: 0,
        called: 0,
        calling: (0, 0),
    },
    Plan {
        key: "infogerance",
        name: "Infogérance : PME suivies par nos partenaires",
        description: "Brouillon pour la rentrée ; les contacts sont choisis, les appelants pas encore prévenus.",
        goal: "10 contrats d'infogérance",
        status: CampaignStatus::Draft,
        max_attempts: 4,
        tz: "Europe/Paris",
        script: Some("etat-des-lieux"),
        agents: &["yasmine", "mehdi"],
        days: (21, None),
        selection: from(1, None, Some("it-services"), 180),
        assigned: 60,
        called: 0,
        calling: (0, 0),
    },
];

/// What happened between a caller and a contact: the outcomes in order, and what became of a promised call.
type Story = (usize, &'static [CallOutcome], FollowUp);

/// The follow-up that goes with the one `Callback` of a story.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FollowUp {
    Nothing,
    Pending,
    Overdue,
    /// Kept on its day; the story goes on with the next call.
    Kept,
    Cancelled,
}

/// `(weight, outcomes, follow-up)`. Of a hundred stories, some forty have not come to anything yet, as in
/// life.
const STORIES: &[Story] = {
    use CallOutcome::{
        Busy, Callback, DoNotContact, Done, NoAnswer, NotInterested, Qualified, Reached, Unreachable,
        Voicemail, WrongNumber,
    };
    &[
        (12, &[NoAnswer], FollowUp::Nothing),
        (6, &[NoAnswer, NoAnswer], FollowUp::Nothing),
        (7, &[Voicemail], FollowUp::Nothing),
        (4, &[Busy, Voicemail], FollowUp::Nothing),
        (6, &[Reached], FollowUp::Nothing),
        (4, &[NoAnswer, Reached], FollowUp::Nothing),
        (9, &[Callback], FollowUp::Pending),
        (5, &[NoAnswer, Callback], FollowUp::Pending),
        (6, &[Callback], FollowUp::Overdue),
        (3, &[Voicemail, Callback], FollowUp::Overdue),
        (3, &[Callback, Reached], FollowUp::Kept),
        (3, &[Callback, Qualified], FollowUp::Kept),
        (2, &[Callback, NotInterested], FollowUp::Cancelled),
        (4, &[Reached, Qualified], FollowUp::Nothing),
        (3, &[Qualified], FollowUp::Nothing),
        (6, &[NotInterested], FollowUp::Nothing),
        (3, &[NoAnswer, NotInterested], FollowUp::Nothing),
        (4, &[NoAnswer, Busy, Unreachable], FollowUp::Nothing),
        (3, &[WrongNumber], FollowUp::Nothing),
        (3, &[DoNotContact], FollowUp::Nothing),
        (4, &[Reached, Done], FollowUp::Nothing),
    ]
};

pub(super) fn campaigns(seed: u64, now: Timestamp) -> Vec<DemoCampaign> {
    let mut diary = Diary::new(now);
    PLANS
        .iter()
        .map(|plan| {
            let calls = calls(&mut Dice::new(seed, plan.key), &mut diary, plan);
            // Dice of their own, so that what was said does not change who was called.
            let executions = plan
                .script
                .map(|script| scripts::executions(&mut Dice::new(seed, plan.name), script, &calls))
                .unwrap_or_default();
            let qualifications = plan
                .script
                .map(|script| forms::qualifications(&mut Dice::new(seed, plan.description), script, &calls))
                .unwrap_or_default();
            DemoCampaign {
                key: plan.key,
                name: plan.name,
                description: plan.description,
                goal: plan.goal,
                final_status: plan.status,
                settings: DemoSettings {
                    max_attempts: plan.max_attempts,
                    call_window: CallWindow { start: "08:00", end: "18:30", tz: plan.tz },
                },
                agent_keys: plan.agents,
                start_date: diary.date(plan.days.0),
                end_date: plan.days.1.map(|days| diary.date(days)),
                selection: plan.selection,
                assignment: (plan.assigned > 0)
                    .then_some(DemoAssignment { members: plan.assigned, agent_keys: plan.agents }),
                script_key: plan.script,
                calls,
                executions,
                form_key: plan.script.and_then(forms::form_of),
                qualifications,
            }
        })
        .collect()
}

/// The calls of a campaign, the oldest first.
fn calls(dice: &mut Dice, diary: &mut Diary, plan: &Plan) -> Vec<DemoCall> {
    // A campaign that is over leaves no promise open.
    let over = matches!(plan.status, CampaignStatus::Completed | CampaignStatus::Archived);
    let mut stories: Vec<&Story> = STORIES
        .iter()
        .filter(|story| !over || !matches!(story.2, FollowUp::Pending | FollowUp::Overdue))
        .flat_map(|story| std::iter::repeat_n(story, (story.0 * plan.called).div_ceil(100)))
        .collect();
    dice.shuffle(&mut stories);
    let mut calls = Vec::new();
    for (member, story) in stories.into_iter().enumerate() {
        calls.extend(tell(dice, diary, plan, member, story));
    }
    calls.sort_by_key(|call: &DemoCall| std::cmp::Reverse(call.minutes_before_now));
    calls
}

/// The calls of one story, the oldest first.
fn tell(dice: &mut Dice, diary: &mut Diary, plan: &Plan, member: usize, story: &Story) -> Vec<DemoCall> {
    let (_, outcomes, follow_up) = *story;
    let agent_key = plan.agents[member % plan.agents.len()];
    // A promise can only be overdue today if it was made before yesterday.
    let latest = plan.calling.0 + if follow_up == FollowUp::Overdue { 2 } else { 0 };
    let mut days = BTreeSet::new();
    while days.len() < outcomes.len() {
        days.insert(dice.between(latest, plan.calling.1.max(latest + outcomes.len())));
    }
    let mut begins: Vec<i64> = days.into_iter().map(|day| diary.call(dice, agent_key, day)).collect();
    begins.sort_unstable();

    outcomes
        .iter()
        .enumerate()
        .map(|(nth, outcome)| DemoCall {
            nth_member: member,
            agent_key,
            outcome: *outcome,
            minutes_before_now: u32::try_from(diary.now - begins[nth]).unwrap_or(0),
            duration_seconds: seconds(dice, *outcome),
            note: note(dice, plan.tz, *outcome),
            // A promise is made in the one callback of a story; the call after it, if there is one, answers
            // it.
            follow_up: (*outcome == CallOutcome::Callback)
                .then(|| promise(dice, diary, follow_up, begins[nth], begins.get(nth + 1).copied()))
                .flatten(),
        })
        .collect()
}

/// When the promise made at `call` is due, and what becomes of it.
fn promise(
    dice: &mut Dice,
    diary: &Diary,
    kind: FollowUp,
    call: i64,
    next: Option<i64>,
) -> Option<DemoFollowUp> {
    let next = next.unwrap_or(call);
    let (due, then) = match kind {
        FollowUp::Nothing => return None,
        FollowUp::Pending => (diary.slot(-1 - signed(dice.low(12)), dice.below(SLOTS)), FollowUpThen::None),
        FollowUp::Overdue => {
            let slot = dice.below(SLOTS);
            let wished = diary.slot(signed(dice.between(1, 4)), slot);
            (if wished > call { wished } else { diary.slot(1, slot) }, FollowUpThen::None)
        }
        FollowUp::Kept => (next - 5, FollowUpThen::Done),
        // The contact was called earlier than promised, and wants no more calls.
        FollowUp::Cancelled => (next + 7 * DAY, FollowUpThen::Cancelled),
    };
    Some(DemoFollowUp { due_in_minutes: due - diary.now, then })
}

/// How long such a call takes. Always shorter than a slot, the pause before it included.
fn seconds(dice: &mut Dice, outcome: CallOutcome) -> u32 {
    let (shortest, longest) = match outcome {
        CallOutcome::NoAnswer => (25, 45),
        CallOutcome::Busy => (5, 15),
        CallOutcome::Voicemail => (28, 70),
        CallOutcome::WrongNumber => (18, 60),
        CallOutcome::Callback => (55, 240),
        CallOutcome::Reached => (90, 600),
        CallOutcome::Qualified => (240, 840),
        CallOutcome::NotInterested => (35, 260),
        CallOutcome::DoNotContact => (20, 95),
        CallOutcome::Unreachable => (8, 40),
        CallOutcome::Done => (120, 480),
    };
    u32::try_from(dice.between(shortest, longest)).unwrap_or(0)
}

/// What the caller wrote down, in the language of the campaign; often nothing.
fn note(dice: &mut Dice, tz: &str, outcome: CallOutcome) -> Option<&'static str> {
    let (french, english): (&[_], &[_]) = match outcome {
        CallOutcome::NoAnswer | CallOutcome::Busy => {
            (&["Sonne dans le vide", "Standard saturé"], &["Rings out", "Line busy at lunch time"])
        }
        CallOutcome::Voicemail => {
            (&["Message laissé", "Répondeur plein"], &["Left a message", "Mailbox full"])
        }
        CallOutcome::WrongNumber => {
            (&["Numéro d'un particulier", "A changé d'entreprise"], &["Private number", "Has left"])
        }
        CallOutcome::Callback => (
            &[
                "En chantier, rappeler",
                "Rappeler après la réunion",
                "Demande à être rappelé par la direction",
            ],
            &["On site, call back", "Asked to be called next week"],
        ),
        CallOutcome::Reached => (
            &[
                "Présentation faite, réfléchit",
                "Veut une documentation d'abord",
                "Attend l'accord de l'associé",
            ],
            &["Presented, will think about it", "Wants a brochure first"],
        ),
        CallOutcome::Qualified => (
            &[
                "Projet confirmé, budget voté",
                "Visite technique à fixer",
                "12 logements, travaux au printemps",
            ],
            &["Project confirmed, budget approved", "Site visit to be arranged"],
        ),
        CallOutcome::NotInterested => (
            &["A déjà un prestataire", "Pas de projet avant deux ans"],
            &["Has a supplier", "No project in sight"],
        ),
        CallOutcome::DoNotContact => {
            (&["Ne veut plus être appelé, noté", "Opposition ferme"], &["Asked never to be called again"])
        }
        CallOutcome::Unreachable => (&["Numéro coupé", "Société radiée"], &["Line disconnected"]),
        CallOutcome::Done => {
            (&["Rendez-vous pris, dossier transmis", "Devis signé"], &["Meeting booked, handed over"])
        }
    };
    dice.percent(55).then(|| dice.pick(if tz == "Europe/London" { english } else { french }))
}

/// Instants are minutes since 1970, in UTC.
const DAY: i64 = 24 * 60;

/// The slots of a day: six from 8:00, seven from 13:00. From 8 to 17:20 in London and in Paris, all year,
/// lunch left out.
const SLOTS: usize = 13;

/// A slot holds a pause of at most four minutes and one call.
const SLOT: i64 = 20;

/// Who is on the telephone when.
struct Diary {
    now: i64,
    taken: BTreeSet<(&'static str, i64)>,
}

impl Diary {
    fn new(now: Timestamp) -> Self {
        Self { now: now.as_second().div_euclid(60), taken: BTreeSet::new() }
    }

    fn date(&self, days_from_today: i32) -> Date {
        let today = i32::try_from(self.now.div_euclid(DAY)).unwrap_or(0);
        Date::constant(1970, 1, 1).saturating_add(today.saturating_add(days_from_today).days())
    }

    /// When the caller begins a call, about so many working days ago, in a slot that is over and has no
    /// other call. A day without such a slot gives way to the one before.
    fn call(&mut self, dice: &mut Dice, agent: &'static str, working_days_ago: usize) -> i64 {
        let first = dice.below(SLOTS);
        let mut free =
            (0..).flat_map(|attempt| (0..SLOTS).map(move |slot| (attempt, (first + slot) % SLOTS)));
        let begins = free.find_map(|(attempt, slot)| {
            let begins = self.slot(signed(working_days_ago + attempt), slot);
            (begins + SLOT <= self.now && self.taken.insert((agent, begins))).then_some(begins)
        });
        begins.unwrap_or(self.now) + signed(dice.below(5))
    }

    /// When a slot begins, so many working days ago; a negative number is a day to come. On a weekend, the
    /// day 0 is the Friday before.
    fn slot(&self, working_days_ago: i64, slot: usize) -> i64 {
        let today = self.now.div_euclid(DAY);
        // The first of January 1970 was a Thursday. Five working days are a week.
        let weekday = (today + 3).rem_euclid(7);
        let monday = today - weekday;
        let working_day = weekday.min(4) - working_days_ago;
        let day = monday + working_day.div_euclid(5) * 7 + working_day.rem_euclid(5);
        let slot = signed(slot);
        day * DAY + if slot < 6 { 8 * 60 + slot * SLOT } else { 13 * 60 + (slot - 6) * SLOT }
    }
}

/// A small count as a number that can be negative.
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
