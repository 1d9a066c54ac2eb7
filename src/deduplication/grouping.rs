//! From weighed pairs to groups, and what to do with each.
//!
//! Likely pairs are joined first, the surest before the others, so that chains (`A` is `B` by e-mail, `B` is `C` by phone)
//! become one group whose confidence is its weakest link. Pairs that are more likely two than one join nothing that is
//! settled: records left alone with such a pair become a question for a person. A contact that has an address, a number or
//! an id of a row, and is not of its group, is noted as near, and makes the group a question, too.

use sha2::{Digest, Sha256};

use super::candidates::Edge;
use super::columns::{Columns, Node};
use super::evidence::{HOLDERS_MAX, KNOWN_BY, Scales, UNSURE_BITS, asked, bit, bits_of, probability};
use super::{Action, CONFIDENT, Group, GroupId, LIKELY, MatchOn, Options, RecordKey, Summary};

/// A pair that contradicts itself gives way to one that does not, by so many bits.
const RIVAL_BITS: f32 = 4.0;
/// Rows that say the same in every value are one, even where the values are poor. By so many bits.
const IDENTICAL_BITS: f32 = 4.0;
const IDENTICAL_POOR_BITS: f32 = 2.0;
/// Members of a group that are compared with each other once more.
const COMPARED_MAX: usize = 16;
/// Near records that a group names.
const NEAR_MAX: usize = 5;

/// Hands out the groups in the order of their first rows, and counts them. `unasked` are rows and contacts that agree in what
/// was not asked for: they join nothing.
pub(super) fn group(
    columns: &Columns,
    mut edges: Vec<Edge>,
    unasked: &[Edge],
    options: &Options,
    each: impl FnMut(Group),
) -> Summary {
    let given_up = yield_to_rivals(columns, &mut edges);
    let mut clusters = Clusters::new(columns.nodes.len());
    edges.sort_by(|one, other| {
        other.weighed.bits.total_cmp(&one.weighed.bits).then((one.a, one.b).cmp(&(other.a, other.b)))
    });
    let likely = edges.partition_point(|edge| edge.weighed.bits >= bits_of(LIKELY));
    for edge in &edges[..likely] {
        clusters.join(edge);
    }
    clusters.settle(columns);
    let mut near: Vec<(u32, u32, f32)> = Vec::new();
    for edge in &edges[likely..] {
        match (clusters.is_settled(edge.a), clusters.is_settled(edge.b)) {
            (false, false) => clusters.join(edge),
            (true, false) => near.push((edge.b, edge.a, edge.weighed.bits)),
            (false, true) => near.push((edge.a, edge.b, edge.weighed.bits)),
            (true, true) => {}
        }
    }
    let mut seconds: Vec<Second> = edges
        .iter()
        .chain(&given_up)
        .filter_map(|edge| Second::of(columns, edge))
        .filter(|second| clusters.root(second.row) != clusters.root(second.contact))
        .collect();
    let has_contact = clusters.with_contacts(columns);
    // Alone, what was not asked for is no reason to ask, unless the two are likely one.
    let matters = |clusters: &mut Clusters, second: &Second| {
        second.bits >= bits_of(LIKELY) || has_contact[clusters.root(second.row) as usize]
    };
    for second in unasked.iter().filter_map(|edge| Second::of(columns, edge)) {
        if clusters.root(second.row) != clusters.root(second.contact) && matters(&mut clusters, &second) {
            seconds.push(second);
        }
    }
    drop((edges, given_up));
    let scales = Scales::new(columns, options);
    Assembly { columns, scales, clusters, near, seconds, asked: asked(options) }.hand_out(each)
}

/// A row, and a contact outside of its group that has an address, a number or an id of it. A row that matches two contacts
/// is a person's to settle, however much better the one is and whatever the names say: applied to the one, it would
/// give that one what is the other's.
#[derive(Clone, Copy)]
struct Second {
    row: u32,
    contact: u32,
    bits: f32,
    /// What the two share, of `KNOWN_BY`.
    shared: u8,
}

impl Second {
    fn of(columns: &Columns, edge: &Edge) -> Option<Self> {
        let is_contact = |node: u32| columns.nodes[node as usize].is_contact;
        let (row, contact) = match (is_contact(edge.a), is_contact(edge.b)) {
            (false, true) => (edge.a, edge.b),
            (true, false) => (edge.b, edge.a),
            (false, false) | (true, true) => return None,
        };
        let shared = edge.weighed.agreed & KNOWN_BY;
        (shared != 0).then_some(Self { row, contact, bits: edge.weighed.bits, shared })
    }

    /// Whether the two, who likely are not one, share a number that says nothing of who has it: it has too many names, each
    /// has an extension of it, or one of `own`, the contacts of the row's group, has it already.
    fn is_on_a_switchboard(&self, columns: &Columns, mut own: impl Iterator<Item = u32>) -> bool {
        let node = |number: u32| &columns.nodes[number as usize];
        let (row, other) = (node(self.row), node(self.contact));
        let by_number_alone = self.shared == bit(MatchOn::Phone) && self.bits < bits_of(LIKELY);
        let has_it = |own: &Node| {
            own.agrees(row, MatchOn::Phone) && (row.extension == 0 || row.extension == own.extension)
        };
        by_number_alone
            && (row.phone_holders > HOLDERS_MAX
                || (row.extension != other.extension && row.extension != 0 && other.extension != 0)
                || own.any(|own| has_it(node(own))))
    }
}

/// Weakens pairs whose names contradict each other where one of the two has a better pair, and gives up what is
/// merely likely where a contact has been found with far more certainty. Returns what was given up and agrees in `KNOWN_BY`.
fn yield_to_rivals(columns: &Columns, edges: &mut Vec<Edge>) -> Vec<Edge> {
    let mut given_up = Vec::new();
    let mut best = vec![f32::NEG_INFINITY; columns.nodes.len()];
    for edge in edges.iter().filter(|edge| !edge.weighed.conflict) {
        for node in [edge.a, edge.b] {
            let best = &mut best[node as usize];
            *best = best.max(edge.weighed.bits);
        }
    }
    let confident = bits_of(CONFIDENT);
    edges.retain_mut(|edge| {
        let (best_a, best_b) = (best[edge.a as usize], best[edge.b as usize]);
        if edge.weighed.conflict && best_a.max(best_b) >= edge.weighed.bits + 0.5 {
            edge.weighed.bits -= RIVAL_BITS;
        }
        let outdone = |best: f32| best >= confident && best >= edge.weighed.bits + RIVAL_BITS;
        let free = |node: u32, best: f32| columns.nodes[node as usize].is_contact || outdone(best);
        let bits = edge.weighed.bits;
        let dropped = (0.0..confident).contains(&bits)
            && (outdone(best_a) && free(edge.b, best_b) || outdone(best_b) && free(edge.a, best_a));
        if dropped && edge.weighed.agreed & KNOWN_BY != 0 {
            given_up.push(*edge);
        }
        !dropped
    });
    given_up
}

/// Sets of nodes that are one.
struct Clusters {
    parent: Vec<u32>,
    /// Of a root: the weakest bits that joined its members, and what they agree in.
    weakest: Vec<f32>,
    agreed: Vec<u8>,
    size: Vec<u32>,
    settled: Vec<bool>,
}

impl Clusters {
    fn new(nodes: usize) -> Self {
        let count = u32::try_from(nodes).expect("nodes are numbered by u32");
        Self {
            parent: (0..count).collect(),
            weakest: vec![f32::INFINITY; nodes],
            agreed: vec![0; nodes],
            size: vec![1; nodes],
            settled: Vec::new(),
        }
    }

    fn root(&mut self, node: u32) -> u32 {
        let mut at = node;
        while self.parent[at as usize] != at {
            let up = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = up;
            at = up;
        }
        at
    }

    fn join(&mut self, edge: &Edge) {
        let (a, b) = (self.root(edge.a), self.root(edge.b));
        let (keep, gone) = if self.size[a as usize] >= self.size[b as usize] { (a, b) } else { (b, a) };
        let (kept, lost) = (keep as usize, gone as usize);
        self.agreed[kept] |= edge.weighed.agreed | self.agreed[lost];
        if keep != gone {
            self.parent[lost] = keep;
            self.size[kept] += self.size[lost];
            self.weakest[kept] = self.weakest[kept].min(self.weakest[lost]).min(edge.weighed.bits);
        }
    }

    /// Of each root, whether a contact is among its members.
    fn with_contacts(&mut self, columns: &Columns) -> Vec<bool> {
        let mut with = vec![false; columns.nodes.len()];
        for contact in &columns.contacts {
            with[self.root(contact.node) as usize] = true;
        }
        with
    }

    /// From here on, whoever is in company stays in it. Identical rows are company.
    fn settle(&mut self, columns: &Columns) {
        let mut settled = Vec::with_capacity(columns.nodes.len());
        for (number, node) in (0u32..).zip(&columns.nodes) {
            let root = self.root(number);
            settled.push(node.rows > 1 || self.size[root as usize] > 1);
        }
        self.settled = settled;
    }

    fn is_settled(&self, node: u32) -> bool {
        self.settled[node as usize]
    }
}

/// The records of each group, in their order: one list after the other, so that a million groups are two vectors.
struct Members {
    /// Where each group's records begin; one more than there are groups.
    starts: Vec<u32>,
    records: Vec<u32>,
}

impl Members {
    /// `place_of` says into which of `groups` groups a record belongs, if into any; it is asked twice.
    fn gather(groups: usize, records: u32, mut place_of: impl FnMut(u32) -> Option<u32>) -> Self {
        let mut starts = vec![0_u32; groups + 1];
        for place in (0..records).filter_map(&mut place_of) {
            starts[place as usize + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut members = vec![0; starts[groups] as usize];
        for record in 0..records {
            if let Some(place) = place_of(record) {
                let slot = &mut next[place as usize];
                members[*slot as usize] = record;
                *slot += 1;
            }
        }
        Self { starts, records: members }
    }

    fn of(&self, group: usize) -> &[u32] {
        &self.records[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

/// What stands beside a group and is not of it.
struct Beside {
    /// The bits of the likeliest record that it more likely is not.
    nearest: Option<f32>,
    near: Vec<RecordKey>,
    /// Whether a row of it matches a contact that is not of it.
    another_contact: bool,
}

struct Assembly<'a> {
    columns: &'a Columns,
    scales: Scales<'a>,
    clusters: Clusters,
    /// A record alone, another that it is more likely not, and the bits.
    near: Vec<(u32, u32, f32)>,
    /// Contacts that rows match outside of their groups.
    seconds: Vec<Second>,
    asked: u8,
}

impl Assembly<'_> {
    fn hand_out(mut self, mut each: impl FnMut(Group)) -> Summary {
        let (places, groups) = self.places();
        let columns = self.columns;
        let placed = |place: u32| (place != u32::MAX).then_some(place);
        let rows = Members::gather(groups, count(columns.node_of_row.len()), |row| {
            placed(places[self.clusters.root(columns.node_of_row[row as usize]?) as usize])
        });
        let contacts = Members::gather(groups, count(columns.contacts.len()), |contact| {
            placed(places[self.clusters.root(columns.contacts[contact as usize].node) as usize])
        });
        // By group, the likeliest first.
        let mut near = std::mem::take(&mut self.near);
        for (alone, _, _) in &mut near {
            *alone = places[self.clusters.root(*alone) as usize];
        }
        near.sort_by(|one, other| {
            one.0.cmp(&other.0).then(other.2.total_cmp(&one.2)).then(one.1.cmp(&other.1))
        });
        near.dedup_by_key(|(group, other, _)| (*group, *other));
        let mut seconds: Vec<(u32, Second)> = std::mem::take(&mut self.seconds)
            .into_iter()
            .map(|second| (places[self.clusters.root(second.row) as usize], second))
            .collect();
        seconds.sort_by(|(place, one), (other_place, other)| {
            let by_place = place.cmp(other_place);
            by_place.then(other.bits.total_cmp(&one.bits)).then(one.contact.cmp(&other.contact))
        });
        let records_of_node = self.first_records();
        let mut summary = Summary {
            rows: columns.node_of_row.len() as u64,
            invalid: columns.invalid_count,
            ..Summary::default()
        };
        for place in 0..groups {
            let number = count(place);
            let from = near.partition_point(|(group, _, _)| *group < number);
            let to = near.partition_point(|(group, _, _)| *group <= number);
            let nearest = near[from..to].first().map(|(_, _, bits)| *bits);
            let seconds_from = seconds.partition_point(|(group, _)| *group < number);
            let seconds_to = seconds.partition_point(|(group, _)| *group <= number);
            let own = contacts.of(place).iter().map(|contact| columns.contacts[*contact as usize].node);
            let seconds: Vec<u32> = seconds[seconds_from..seconds_to]
                .iter()
                .filter(|(_, second)| !second.is_on_a_switchboard(columns, own.clone()))
                .map(|(_, second)| second.contact)
                .collect();
            let mut nearby: Vec<RecordKey> = Vec::new();
            let nodes = seconds.iter().copied().chain(near[from..to].iter().map(|near| near.1));
            for key in nodes.filter_map(|node| records_of_node[node as usize]) {
                if nearby.len() < NEAR_MAX && !nearby.contains(&key) {
                    nearby.push(key);
                }
            }
            let beside = Beside { nearest, near: nearby, another_contact: !seconds.is_empty() };
            each(self.group(rows.of(place), contacts.of(place), beside, &mut summary));
        }
        summary
    }

    /// The place of each cluster's group, by root, and how many groups there are; `u32::MAX` for a cluster without a row.
    fn places(&mut self) -> (Vec<u32>, usize) {
        let mut places = vec![u32::MAX; self.columns.nodes.len()];
        let mut next = 0;
        for node in self.columns.node_of_row.iter().flatten() {
            let place = &mut places[self.clusters.root(*node) as usize];
            if *place == u32::MAX {
                *place = next;
                next += 1;
            }
        }
        (places, next as usize)
    }

    fn first_records(&self) -> Vec<Option<RecordKey>> {
        let mut first = vec![None; self.columns.nodes.len()];
        for (row, node) in (0..).zip(&self.columns.node_of_row) {
            if let Some(node) = node {
                first[*node as usize].get_or_insert(RecordKey::Row(row));
            }
        }
        for contact in &self.columns.contacts {
            first[contact.node as usize] = Some(contact.key);
        }
        first
    }

    fn group(&mut self, rows: &[u32], contacts: &[u32], beside: Beside, summary: &mut Summary) -> Group {
        let node = self.columns.node_of_row[rows[0] as usize].expect("a group's rows are valid");
        let root = self.clusters.root(node) as usize;
        let (identical, alike) = self.identical(rows);
        let mut weakest = self.clusters.weakest[root].min(identical);
        if self.clusters.size[root] > 2 && self.contradicts_itself(rows, contacts) {
            weakest = weakest.min(UNSURE_BITS);
        }
        let agreed = self.clusters.agreed[root] | alike;
        let claimed = weakest >= bits_of(LIKELY);
        let confidence = probability(weakest.min(beside.nearest.unwrap_or(f32::INFINITY)));
        let mut members: Vec<RecordKey> = rows.iter().map(|row| RecordKey::Row(*row)).collect();
        let contact = |contact: &u32| &self.columns.contacts[*contact as usize];
        let mut contact_keys: Vec<RecordKey> = contacts.iter().map(|one| contact(one).key).collect();
        contact_keys.sort_unstable();
        members.extend(contact_keys);

        let asked_not_to = |row: &u32| self.columns.suppressed[*row as usize];
        let suppressed =
            rows.iter().any(asked_not_to) || claimed && contacts.iter().any(|one| contact(one).suppressed);
        let in_campaign = contacts.iter().any(|one| contact(one).in_campaign);
        let count = rows.len() as u64;
        if claimed {
            summary.duplicates_in_import += count - 1;
            if contacts.is_empty() {
                summary.unique += 1;
            } else {
                summary.existing_in_crm += 1;
                summary.in_campaigns += u64::from(in_campaign);
            }
            summary.suppressed += u64::from(suppressed);
        } else {
            summary.unique += count;
            summary.suppressed += rows.iter().filter(|row| asked_not_to(row)).count() as u64;
        }

        let suggested_action = if contacts.len() > 1 || beside.another_contact || confidence < CONFIDENT {
            Action::Review
        } else if suppressed || !contacts.is_empty() && self.adds_nothing(rows, contacts[0]) {
            Action::Skip
        } else if !contacts.is_empty() {
            Action::Update
        } else if rows.len() > 1 {
            Action::Merge
        } else {
            Action::Create
        };
        Group {
            group_id: group_id(&members),
            confidence: (confidence * 10_000.0).round() / 10_000.0,
            matched_on: MatchOn::ALL.into_iter().filter(|kind| agreed & bit(*kind) != 0).collect(),
            members,
            near: beside.near,
            suggested_action,
        }
    }

    /// Whether two of the members go by names that have little in common: a chain may have led from one to the other
    /// over a record without a name.
    fn contradicts_itself(&self, rows: &[u32], contacts: &[u32]) -> bool {
        let of_rows = rows.iter().filter_map(|row| self.columns.node_of_row[*row as usize]);
        let of_contacts = contacts.iter().map(|contact| self.columns.contacts[*contact as usize].node);
        let mut nodes: Vec<u32> = of_rows.chain(of_contacts).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(COMPARED_MAX);
        let node = |number: u32| &self.columns.nodes[number as usize];
        nodes
            .iter()
            .enumerate()
            .any(|(at, a)| nodes[at + 1..].iter().any(|b| self.scales.contradict(node(*a), node(*b))))
    }

    /// The bits for rows that say the same in every value, and what they agree in.
    fn identical(&self, rows: &[u32]) -> (f32, u8) {
        let mut bits = f32::INFINITY;
        let mut kinds = 0;
        for node in rows.iter().filter_map(|row| self.columns.node_of_row[*row as usize]) {
            let node = &self.columns.nodes[node as usize];
            if node.rows < 2 {
                continue;
            }
            let values = [node.email, node.external, node.city, node.person_name, node.company_name];
            let held = values.iter().filter(|value| **value != 0).count() + usize::from(node.phone != 0);
            let keyed = node.email != 0 || node.external != 0 || node.phone != 0;
            bits = bits.min(if held >= 2 || keyed { IDENTICAL_BITS } else { IDENTICAL_POOR_BITS });
            for kind in MatchOn::ALL.into_iter().filter(|kind| node.agrees(node, *kind)) {
                kinds |= bit(kind) & self.asked;
            }
        }
        (bits, kinds)
    }

    /// Whether every value of the rows is the contact's already.
    fn adds_nothing(&self, rows: &[u32], contact: u32) -> bool {
        let held = &self.columns.nodes[self.columns.contacts[contact as usize].node as usize];
        rows.iter().all(|row| {
            let Some(node) = self.columns.node_of_row[*row as usize] else { return false };
            let node = &self.columns.nodes[node as usize];
            let within = |value: u32, held: u32| value == 0 || value == held;
            within(node.email, held.email)
                && (node.phone == 0 || node.phone == held.phone)
                && within(node.extension, held.extension)
                && within(node.external, held.external)
                && within(node.city, held.city)
                && within(node.person_name, held.person_name)
                && within(node.company_name, held.company_name)
        })
    }
}

fn count(records: usize) -> u32 {
    u32::try_from(records).expect("records are counted by u32")
}

fn group_id(members: &[RecordKey]) -> GroupId {
    let mut digest = Sha256::new();
    for member in members {
        match member {
            RecordKey::Row(row) => {
                digest.update([0]);
                digest.update(row.to_be_bytes());
            }
            RecordKey::Contact(id) => {
                digest.update([1]);
                digest.update(id.as_bytes());
            }
        }
    }
    let mut id = [0; 16];
    id.copy_from_slice(&digest.finalize()[..16]);
    GroupId(id)
}
