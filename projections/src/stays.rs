//! What a batch of events makes of who is in which campaign, and how they stand there.
//!
//! Pure: [`Needs`] says which rows a batch depends on, [`Before`] holds them, and [`plan`] turns both into net
//! changes of memberships, sets and counters. The same events give the same rows in whatever batches they come.
//!
//! The rules:
//! - **Added**: a contact that is in the campaign already is passed over; one that asked not to be contacted enters
//!   as `do_not_contact`; every other as `new`. The event's sequence becomes the `epoch`.
//! - **Assigned**: only contacts that are in the campaign; `new` becomes `assigned`, any other status stays.
//! - **Removed**: the row goes, with everything that was done in this stay.
//! - **Called, moved**: only if the epoch is that of the present stay. `do_not_contact` is never left again within
//!   a stay: the opt-out is on another stream, so a call may be recorded just after it.
//! - **Opted out, suppressed**: every membership of the contact becomes `do_not_contact`. It stays that when the address is
//!   taken off the list; a contact that is put in again afterwards enters as `new`.

use std::collections::{BTreeMap, HashMap, HashSet};

use docket_aggregates::contact::ContactEvent;
use docket_aggregates::ids::{CampaignId, ContactId, OrganizationId};
use docket_aggregates::membership::{MembershipEvent, MembershipStatus};
use docket_aggregates::roster::RosterEvent;
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::PgConnection;

use crate::campaign_counters::Kind;
use crate::campaign_sets::{SetId, Sets};
use crate::contacts::Flags;
use crate::memberships::{Change, ContactSource, Pair, Standing};
use crate::{FoldError, Recorded, campaign_counters, campaign_sets, contact_sets, contacts, memberships};

/// Folds the batch into memberships, sets and counters. Reads the contacts as they were before the batch, so it
/// goes before the contacts themselves are written.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let needs = Needs::of(batch);
    if needs.nothing {
        return Ok(());
    }
    let mut before = Before {
        flags: contacts::flags(conn, organization, &needs.flags).await?,
        contact_sets: contact_sets::of_contacts(conn, organization, &needs.sets).await?,
        ..Before::default()
    };
    let mut sets: Vec<SetId> = before.contact_sets.values().copied().collect();
    sets.sort_unstable();
    sets.dedup();
    if !sets.is_empty() {
        for set in campaign_sets::by_ids(conn, organization, &sets).await? {
            before.sets.learn(set.set_id, set.members);
        }
    }
    let pairs = needs.pairs(batch, &before);
    before.standings = memberships::load(conn, organization, &pairs).await?;

    let (changes, sets) = plan(batch, before);
    memberships::write(conn, organization, &changes.memberships).await?;
    contact_sets::write(conn, organization, &changes.moves).await?;
    campaign_sets::write(conn, organization, &sets, &changes.sets).await?;
    campaign_counters::write(conn, organization, &changes.counters).await?;
    Ok(())
}

/// Whether an event of this stored type may change who is in a campaign, or how they stand there.
pub(crate) fn moves(event_type: &str) -> bool {
    let is_of = |stored: &[(&str, &str)]| stored.iter().any(|(known, _)| *known == event_type);
    matches!(event_type, "ContactOptedOut" | "ContactSuppressed")
        || is_of(RosterEvent::STORED)
        || is_of(MembershipEvent::STORED)
}

/// What must be known before a batch can be planned.
#[derive(Debug, Default)]
struct Needs {
    /// No event of the batch is about memberships.
    nothing: bool,
    /// Contacts whose opt-out and source matter.
    flags: Vec<ContactId>,
    /// Contacts whose set matters.
    sets: Vec<ContactId>,
    /// The same and those created in the batch, for which there is nothing to load: here the set tells whether a
    /// pair exists.
    settled: HashSet<ContactId>,
}

impl Needs {
    fn of(batch: &[Recorded]) -> Self {
        let mut needs = Self { nothing: true, ..Self::default() };
        let mut created: HashSet<ContactId> = HashSet::new();
        for recorded in batch {
            let event = &recorded.event;
            if let AnyEvent::Contact(ContactEvent::ContactCreated { contact_id, .. }) = event {
                created.insert(*contact_id);
            }
            if !moves(event.event_type()) {
                continue;
            }
            needs.nothing = false;
            match event {
                AnyEvent::Contact(_) => needs.sets.push(ContactId(recorded.aggregate_id)),
                AnyEvent::Roster(RosterEvent::ContactsAdded { contact_ids, .. }) => {
                    needs.flags.extend(contact_ids);
                    needs.sets.extend(contact_ids);
                }
                AnyEvent::Roster(RosterEvent::ContactsRemoved { contact_ids, .. }) => {
                    needs.sets.extend(contact_ids);
                }
                _ => (),
            }
        }
        for wanted in [&mut needs.flags, &mut needs.sets] {
            wanted.sort_unstable();
            wanted.dedup();
            if !created.is_empty() {
                wanted.retain(|contact| !created.contains(contact));
            }
        }
        needs.settled = created;
        needs.settled.extend(&needs.sets);
        needs
    }

    /// The memberships that must be known: those that an event is about, but for those of which the sets tell that
    /// they do not exist.
    fn pairs(&self, batch: &[Recorded], before: &Before) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        let mut want = |campaign: CampaignId, contact: ContactId| {
            let set = before.contact_sets.get(&contact).copied();
            if before.sets.contains(set, campaign) || !self.settled.contains(&contact) {
                pairs.push((campaign, contact));
            }
        };
        for recorded in batch {
            match &recorded.event {
                AnyEvent::Roster(RosterEvent::ContactsAdded { .. }) => (),
                AnyEvent::Roster(RosterEvent::ContactsAssigned { campaign_id, shares }) => {
                    for share in shares {
                        share.contact_ids.iter().for_each(|contact| want(*campaign_id, *contact));
                    }
                }
                AnyEvent::Roster(RosterEvent::ContactsRemoved { campaign_id, contact_ids, .. }) => {
                    contact_ids.iter().for_each(|contact| want(*campaign_id, *contact));
                }
                AnyEvent::Membership(
                    MembershipEvent::CallLogged { campaign_id, contact_id, .. }
                    | MembershipEvent::MembershipMoved { campaign_id, contact_id, .. },
                ) => want(*campaign_id, *contact_id),
                AnyEvent::Contact(
                    ContactEvent::ContactOptedOut { .. } | ContactEvent::ContactSuppressed { .. },
                ) => {
                    let contact = ContactId(recorded.aggregate_id);
                    let set = before.contact_sets.get(&contact).copied();
                    before.sets.members(set).iter().for_each(|campaign| want(*campaign, contact));
                }
                _ => (),
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

/// The rows that a batch depends on, as they are before it.
#[derive(Debug, Default)]
struct Before {
    flags: HashMap<ContactId, Flags>,
    contact_sets: HashMap<ContactId, SetId>,
    sets: Sets,
    standings: HashMap<Pair, Standing>,
}

/// What a batch changes, net.
#[derive(Debug, Default)]
struct Changes {
    memberships: Vec<(Pair, Change)>,
    moves: Vec<contact_sets::Move>,
    sets: HashMap<SetId, i64>,
    counters: HashMap<Kind, i64>,
}

/// A row before and after the batch.
struct Row {
    before: Option<Standing>,
    now: Option<Standing>,
}

struct Planner {
    flags: HashMap<ContactId, Flags>,
    sets_before: HashMap<ContactId, SetId>,
    /// Contacts whose set may have changed, and the set that they are in now.
    sets_now: HashMap<ContactId, Option<SetId>>,
    sets: Sets,
    rows: HashMap<Pair, Row>,
}

fn plan(batch: &[Recorded], before: Before) -> (Changes, Sets) {
    let rows = before
        .standings
        .into_iter()
        .map(|(pair, standing)| (pair, Row { now: Some(standing.clone()), before: Some(standing) }))
        .collect();
    let mut planner = Planner {
        flags: before.flags,
        sets_before: before.contact_sets,
        sets_now: HashMap::new(),
        sets: before.sets,
        rows,
    };
    for recorded in batch {
        planner.apply(recorded);
    }
    planner.finish()
}

impl Planner {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            AnyEvent::Contact(event) => self.contact(ContactId(recorded.aggregate_id), event),
            AnyEvent::Roster(event) => self.roster(recorded, event),
            AnyEvent::Membership(event) => self.membership(event),
            _ => (),
        }
    }

    fn contact(&mut self, contact: ContactId, event: &ContactEvent) {
        match event {
            ContactEvent::ContactCreated { import_id, .. } => {
                let source = ContactSource::of(import_id.is_some());
                self.flags.insert(contact, Flags { do_not_contact: false, source });
            }
            ContactEvent::ContactProfileChanged { .. } => (),
            ContactEvent::ContactSuppressionLifted { do_not_contact, .. } => {
                // Without a row of its own in `flags` nothing of this batch asks for it.
                if let Some(flags) = self.flags.get_mut(&contact) {
                    flags.do_not_contact = *do_not_contact;
                }
            }
            ContactEvent::ContactOptedOut { .. } | ContactEvent::ContactSuppressed { .. } => {
                self.flags.entry(contact).or_default().do_not_contact = true;
                for campaign in self.sets.members(self.set(contact)).to_vec() {
                    if let Some(now) = self.standing(campaign, contact) {
                        now.status = MembershipStatus::DoNotContact;
                    }
                }
            }
        }
    }

    fn roster(&mut self, recorded: &Recorded, event: &RosterEvent) {
        match event {
            RosterEvent::ContactsAdded { campaign_id, contact_ids } => {
                let epoch = recorded.sequence.max(0).cast_unsigned();
                for contact in contact_ids {
                    self.add(*campaign_id, *contact, epoch, recorded.occurred_at);
                }
            }
            RosterEvent::ContactsAssigned { campaign_id, shares } => {
                for share in shares {
                    for contact in &share.contact_ids {
                        if let Some(now) = self.standing(*campaign_id, *contact) {
                            now.agent_id = Some(share.agent_id);
                            if now.status == MembershipStatus::New {
                                now.status = MembershipStatus::Assigned;
                            }
                        }
                    }
                }
            }
            RosterEvent::ContactsRemoved { campaign_id, contact_ids, .. } => {
                for contact in contact_ids {
                    self.remove(*campaign_id, *contact);
                }
            }
        }
    }

    fn membership(&mut self, event: &MembershipEvent) {
        match event {
            MembershipEvent::CallLogged {
                campaign_id,
                contact_id,
                epoch,
                started_at,
                attempt,
                status,
                ..
            } => {
                if let Some(now) = self.standing(*campaign_id, *contact_id).filter(|now| now.epoch == *epoch)
                {
                    now.attempts = *attempt;
                    now.last_call_at = now.last_call_at.max(Some(*started_at));
                    now.go_to(*status);
                }
            }
            MembershipEvent::MembershipMoved { campaign_id, contact_id, epoch, status, .. } => {
                if let Some(now) = self.standing(*campaign_id, *contact_id).filter(|now| now.epoch == *epoch)
                {
                    now.go_to(*status);
                }
            }
        }
    }

    fn add(&mut self, campaign: CampaignId, contact: ContactId, epoch: u64, added_at: Timestamp) {
        let set = self.set(contact);
        if self.sets.contains(set, campaign) {
            return;
        }
        let flags = self.flags.get(&contact).copied().unwrap_or_default();
        let standing = Standing {
            epoch,
            added_at,
            last_call_at: None,
            agent_id: None,
            attempts: 0,
            status: if flags.do_not_contact { MembershipStatus::DoNotContact } else { MembershipStatus::New },
            source: flags.source,
        };
        let with = self.sets.with(set, campaign);
        self.sets_now.insert(contact, Some(with));
        self.rows.entry((campaign, contact)).or_insert(Row { before: None, now: None }).now = Some(standing);
    }

    fn remove(&mut self, campaign: CampaignId, contact: ContactId) {
        if let Some(set) = self.set(contact).filter(|set| self.sets.contains(Some(*set), campaign)) {
            let without = self.sets.without(set, campaign);
            self.sets_now.insert(contact, without);
            if let Some(row) = self.rows.get_mut(&(campaign, contact)) {
                row.now = None;
            }
        }
    }

    /// The set that the contact is in at this point of the batch.
    fn set(&self, contact: ContactId) -> Option<SetId> {
        match self.sets_now.get(&contact) {
            Some(now) => *now,
            None => self.sets_before.get(&contact).copied(),
        }
    }

    /// Where the contact stands at this point of the batch, if it is in the campaign.
    fn standing(&mut self, campaign: CampaignId, contact: ContactId) -> Option<&mut Standing> {
        self.rows.get_mut(&(campaign, contact))?.now.as_mut()
    }

    fn finish(self) -> (Changes, Sets) {
        let mut changes = Changes::default();
        let mut moves = BTreeMap::new();
        for (contact, now) in self.sets_now {
            let before = self.sets_before.get(&contact).copied();
            if before != now {
                if let Some(before) = before {
                    *changes.sets.entry(before).or_default() -= 1;
                }
                if let Some(now) = now {
                    *changes.sets.entry(now).or_default() += 1;
                }
                let sized = |set: SetId| (set, self.sets.members(Some(set)).len());
                moves.insert(contact, (before.map(sized), now.map(sized)));
            }
        }
        changes.moves = moves.into_iter().map(|(contact, (before, now))| (contact, before, now)).collect();
        for (pair, row) in self.rows {
            if let Some(before) = &row.before {
                *changes.counters.entry(before.kind(pair.0)).or_default() -= 1;
            }
            if let Some(now) = &row.now {
                *changes.counters.entry(now.kind(pair.0)).or_default() += 1;
            }
            let change = match (row.before, row.now) {
                (None, Some(now)) => Change::Insert(now),
                (Some(before), Some(now)) if before != now => Change::Update(now),
                (Some(_), None) => Change::Delete,
                (Some(_), Some(_)) | (None, None) => continue,
            };
            changes.memberships.push((pair, change));
        }
        changes.memberships.sort_unstable_by_key(|(pair, _)| *pair);
        (changes, self.sets)
    }
}

impl Standing {
    /// An opt-out is never taken back by work that was recorded beside it.
    fn go_to(&mut self, status: MembershipStatus) {
        if self.status != MembershipStatus::DoNotContact {
            self.status = status;
        }
    }

    fn kind(&self, campaign_id: CampaignId) -> Kind {
        Kind { campaign_id, agent_id: self.agent_id, status: self.status, source: self.source }
    }
}

#[cfg(test)]
mod tests {
    use docket_aggregates::Personal;
    use docket_aggregates::contact::{ContactProfile, LegalBasis};
    use docket_aggregates::ids::{AgentId, CallId, ImportId};
    use docket_aggregates::membership::CallOutcome;
    use docket_aggregates::roster::Share;
    use uuid::Uuid;

    use super::*;

    /// The tables that the plan is about, in memory.
    #[derive(Debug, Default, PartialEq)]
    struct Tables {
        flags: BTreeMap<ContactId, (bool, ContactSource)>,
        contact_sets: BTreeMap<ContactId, SetId>,
        sets: BTreeMap<SetId, (Vec<CampaignId>, i64)>,
        memberships: BTreeMap<Pair, Standing>,
        counters: BTreeMap<Kind, i64>,
    }

    impl Tables {
        /// What `fold` does with the database, done with the tables in memory.
        fn fold(&mut self, batch: &[Recorded]) {
            let needs = Needs::of(batch);
            let mut before = Before {
                flags: needs
                    .flags
                    .iter()
                    .filter_map(|contact| Some((*contact, self.flags.get(contact)?)))
                    .map(|(contact, (do_not_contact, source))| {
                        (contact, Flags { do_not_contact: *do_not_contact, source: *source })
                    })
                    .collect(),
                contact_sets: needs
                    .sets
                    .iter()
                    .filter_map(|contact| Some((*contact, *self.contact_sets.get(contact)?)))
                    .collect(),
                ..Before::default()
            };
            for set in before.contact_sets.values() {
                before.sets.learn(*set, self.sets[set].0.clone());
            }
            before.standings = needs
                .pairs(batch, &before)
                .into_iter()
                .filter_map(|pair| Some((pair, self.memberships.get(&pair)?.clone())))
                .collect();
            let (changes, sets) = plan(batch, before);
            for (pair, change) in changes.memberships {
                match change {
                    Change::Insert(now) => assert!(self.memberships.insert(pair, now).is_none(), "was there"),
                    Change::Update(now) => {
                        assert!(self.memberships.insert(pair, now).is_some(), "was not there")
                    }
                    Change::Delete => assert!(self.memberships.remove(&pair).is_some(), "was not there"),
                }
            }
            for (contact, before, now) in changes.moves {
                assert_eq!(self.contact_sets.remove(&contact), before.map(|(set, _)| set));
                self.contact_sets.extend(now.map(|(set, _)| (contact, set)));
            }
            for (set, n) in changes.sets {
                let row = self.sets.entry(set).or_insert_with(|| (sets.members(Some(set)).to_vec(), 0));
                row.1 += n;
            }
            self.sets.retain(|_, (_, n)| *n != 0);
            for (kind, n) in changes.counters {
                *self.counters.entry(kind).or_default() += n;
            }
            self.counters.retain(|_, n| *n != 0);
            for recorded in batch {
                let contact = ContactId(recorded.aggregate_id);
                match &recorded.event {
                    AnyEvent::Contact(ContactEvent::ContactCreated { import_id, .. }) => {
                        self.flags.insert(contact, (false, ContactSource::of(import_id.is_some())));
                    }
                    AnyEvent::Contact(ContactEvent::ContactOptedOut { .. }) => {
                        self.flags.entry(contact).or_default().0 = true;
                    }
                    _ => (),
                }
            }
        }

        fn of(events: &[AnyEvent]) -> Self {
            let mut tables = Self::default();
            tables.fold(&recorded(events));
            tables
        }

        fn status(&self, contact: u128) -> Option<MembershipStatus> {
            Some(self.memberships.get(&(campaign(1), person(contact)))?.status)
        }
    }

    fn recorded(events: &[AnyEvent]) -> Vec<Recorded> {
        let mut lengths: HashMap<Uuid, i64> = HashMap::new();
        events
            .iter()
            .zip(1..)
            .map(|(event, position)| {
                let stream = match event {
                    AnyEvent::Contact(ContactEvent::ContactCreated { contact_id, .. }) => contact_id.uuid(),
                    AnyEvent::Contact(ContactEvent::ContactOptedOut { via, .. }) => via.parse().unwrap(),
                    AnyEvent::Roster(
                        RosterEvent::ContactsAdded { campaign_id, .. }
                        | RosterEvent::ContactsAssigned { campaign_id, .. }
                        | RosterEvent::ContactsRemoved { campaign_id, .. },
                    ) => campaign_id.uuid(),
                    _ => Uuid::nil(),
                };
                let length = lengths.entry(stream).or_default();
                *length += 1;
                Recorded::sample(position, stream, *length, event.clone())
            })
            .collect()
    }

    fn campaign(n: u128) -> CampaignId {
        CampaignId(Uuid::from_u128(n))
    }

    fn person(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(100 + n))
    }

    fn people(contacts: &[u128]) -> Vec<ContactId> {
        contacts.iter().map(|n| person(*n)).collect()
    }

    fn created(contact: u128, import: Option<u128>) -> AnyEvent {
        AnyEvent::Contact(ContactEvent::ContactCreated {
            contact_id: person(contact),
            profile: Personal::known(person(contact).uuid(), ContactProfile::default()),
            legal_basis: LegalBasis::Consent,
            import_id: import.map(|n| ImportId(Uuid::from_u128(n))),
        })
    }

    /// `via` carries the contact, from which `recorded` takes the stream.
    fn opted_out(contact: u128) -> AnyEvent {
        let via = person(contact).to_string();
        AnyEvent::Contact(ContactEvent::ContactOptedOut { via, addresses: Vec::new() })
    }

    fn added(to: u128, contacts: &[u128]) -> AnyEvent {
        AnyEvent::Roster(RosterEvent::ContactsAdded {
            campaign_id: campaign(to),
            contact_ids: people(contacts),
        })
    }

    fn assigned(to: u128, contacts: &[u128]) -> AnyEvent {
        let share = Share { agent_id: AgentId(Uuid::from_u128(7)), contact_ids: people(contacts) };
        AnyEvent::Roster(RosterEvent::ContactsAssigned { campaign_id: campaign(to), shares: vec![share] })
    }

    fn removed(from: u128, contacts: &[u128]) -> AnyEvent {
        AnyEvent::Roster(RosterEvent::ContactsRemoved {
            campaign_id: campaign(from),
            contact_ids: people(contacts),
            detach_calls: false,
            cancel_follow_ups: false,
        })
    }

    fn called(in_campaign: u128, contact: u128, epoch: u64, status: MembershipStatus) -> AnyEvent {
        AnyEvent::Membership(MembershipEvent::CallLogged {
            call_id: CallId(Uuid::from_u128(1)),
            campaign_id: campaign(in_campaign),
            contact_id: person(contact),
            epoch,
            agent_id: AgentId(Uuid::from_u128(7)),
            outcome: CallOutcome::Reached,
            started_at: Timestamp::from_millis(5),
            duration_seconds: None,
            note: None,
            attempt: 1,
            status,
        })
    }

    fn moved(in_campaign: u128, contact: u128, epoch: u64, status: MembershipStatus) -> AnyEvent {
        AnyEvent::Membership(MembershipEvent::MembershipMoved {
            campaign_id: campaign(in_campaign),
            contact_id: person(contact),
            epoch,
            status,
            because: "test".to_owned(),
            judged_at: None,
        })
    }

    #[test]
    fn who_is_in_it_already_is_passed_over() {
        let tables = Tables::of(&[created(1, None), added(1, &[1]), added(1, &[1, 2])]);
        assert_eq!(tables.memberships[&(campaign(1), person(1))].epoch, 1);
        assert_eq!(tables.memberships[&(campaign(1), person(2))].epoch, 2);
    }

    #[test]
    fn who_opted_out_enters_as_do_not_contact() {
        let tables = Tables::of(&[created(1, None), opted_out(1), added(1, &[1])]);
        assert_eq!(tables.status(1), Some(MembershipStatus::DoNotContact));
    }

    #[test]
    fn an_opt_out_reaches_every_campaign_and_is_not_taken_back_by_a_call() {
        let tables = Tables::of(&[
            created(1, None),
            added(1, &[1]),
            added(2, &[1]),
            opted_out(1),
            called(1, 1, 1, MembershipStatus::Qualified),
        ]);
        assert!(
            tables.memberships.values().all(|standing| standing.status == MembershipStatus::DoNotContact),
            "{tables:?}"
        );
        assert_eq!(tables.memberships[&(campaign(1), person(1))].attempts, 1);
    }

    #[test]
    fn an_assignment_does_not_take_work_back() {
        let tables = Tables::of(&[
            added(1, &[1, 2]),
            called(1, 2, 1, MembershipStatus::Qualified),
            assigned(1, &[1, 2, 3]),
        ]);
        assert_eq!(tables.status(1), Some(MembershipStatus::Assigned));
        assert_eq!(tables.status(2), Some(MembershipStatus::Qualified));
        assert_eq!(tables.status(3), None, "who is not in the campaign is not assigned");
    }

    #[test]
    fn a_second_stay_starts_afresh() {
        let tables = Tables::of(&[
            added(1, &[1]),
            assigned(1, &[1]),
            removed(1, &[1]),
            added(1, &[1]),
            called(1, 1, 1, MembershipStatus::Qualified),
        ]);
        let standing = &tables.memberships[&(campaign(1), person(1))];
        assert_eq!((standing.epoch, standing.attempts, standing.agent_id), (4, 0, None));
        assert_eq!(standing.status, MembershipStatus::New, "a call of the first stay does not count");
    }

    #[test]
    fn whoever_leaves_leaves_no_row_behind() {
        let tables = Tables::of(&[added(1, &[1]), added(2, &[1]), removed(1, &[1]), removed(2, &[1])]);
        assert_eq!(tables, Tables::default());
    }

    #[test]
    fn counters_tell_where_contacts_came_from() {
        let tables = Tables::of(&[created(1, Some(9)), created(2, None), added(1, &[1, 2])]);
        let imported = tables.counters.iter().filter(|(kind, _)| kind.source == ContactSource::ImportFolder);
        assert_eq!(imported.map(|(_, n)| n).sum::<i64>(), 1);
        assert_eq!(tables.counters.values().sum::<i64>(), 2);
    }

    /// Numbers that look random and are the same in every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u128) -> u128 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u128::from(self.0 >> 33) % sides
        }
    }

    #[test]
    fn the_rows_do_not_depend_on_the_batches() {
        for seed in 0..200 {
            let mut dice = Dice(seed);
            let mut events: Vec<AnyEvent> = (0..6).map(|n| created(n, (n % 2 == 0).then_some(9))).collect();
            for _ in 0..60 {
                let (c, k, j) = (dice.roll(3) + 1, dice.roll(6), dice.roll(6));
                let mut some = vec![k, j];
                some.sort_unstable();
                some.dedup();
                let epoch = u64::try_from(dice.roll(12)).unwrap();
                let status = MembershipStatus::ALL[usize::try_from(dice.roll(9)).unwrap()];
                events.push(match dice.roll(12) {
                    0..=4 => added(c, &some),
                    5..=6 => assigned(c, &some),
                    7..=8 => removed(c, &some),
                    9 => called(c, k, epoch, status),
                    10 => moved(c, k, epoch, status),
                    _ => opted_out(k),
                });
            }
            let batch = recorded(&events);
            let mut whole = Tables::default();
            whole.fold(&batch);
            let mut cut = Tables::default();
            let mut rest = &batch[..];
            while !rest.is_empty() {
                let size = usize::try_from(dice.roll(7) + 1).unwrap().min(rest.len());
                cut.fold(&rest[..size]);
                rest = &rest[size..];
            }
            assert_eq!(whole, cut, "seed {seed}");
            let counted: i64 = whole.counters.values().sum();
            assert_eq!(counted, i64::try_from(whole.memberships.len()).unwrap(), "seed {seed}");
            let in_sets: i64 = whole.sets.values().map(|(_, n)| n).sum();
            assert_eq!(in_sets, i64::try_from(whole.contact_sets.len()).unwrap(), "seed {seed}");
        }
    }
}
