//! Which pairs are compared: those that share a match key, and of a crowded key only neighbours.
//!
//! The cost is linear in the records. A key held by few is compared in full. A key held by many (a switchboard, a frequent
//! name) is sorted by name, and each record is compared with the next few only: those that can still be one stand together.

use super::columns::{Columns, Node};
use super::evidence::{Scales, Weighed};
use super::{GivenUp, MatchOn, Options, threads};

/// Two nodes and what their comparison came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub a: u32,
    pub b: u32,
    pub weighed: Weighed,
}

/// A key of at most so many comparisons is compared in full.
const PAIRS_MAX: usize = 300;
/// In a crowded key, each record is compared with so many after it.
const NEIGHBOURS: usize = 8;

/// Fewer holders of keys than this are compared by one thread.
const HOLDERS_FOR_THREADS: usize = 50_000;

/// Every pair worth a question, once, in order; some of them once it was given up.
pub(super) fn weigh_all(columns: &mut Columns, options: &Options, given_up: &GivenUp<'_>) -> Vec<Edge> {
    let holders = blocks(columns);
    count_holders(columns, &holders);
    let columns = &*columns;
    let (scales, crowded) = (Scales::new(columns, options), crowded(columns, &holders));
    let comparison = Comparison { columns, scales, crowded, given_up };
    let parts = parts(&holders, threads(holders.len(), HOLDERS_FOR_THREADS));
    let mut edges = match parts.as_slice() {
        [all] => comparison.edges(all),
        parts => std::thread::scope(|scope| {
            let workers: Vec<_> = parts.iter().map(|part| scope.spawn(|| comparison.edges(part))).collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(edges) => edges,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        }),
    };
    edges.sort_unstable_by_key(|edge| (edge.a, edge.b));
    edges.dedup_by_key(|edge| (edge.a, edge.b));
    edges
}

/// Cuts the holders into so many parts of about one size, never through a key.
fn parts(holders: &[(u64, u32)], count: usize) -> Vec<&[(u64, u32)]> {
    let size = holders.len().div_ceil(count).max(1);
    let mut parts = Vec::with_capacity(count);
    let mut rest = holders;
    while rest.len() > size {
        let key = rest[size - 1].0;
        let cut = size + rest[size..].partition_point(|(other, _)| *other == key);
        let (part, after) = rest.split_at(cut);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

struct Comparison<'a> {
    columns: &'a Columns,
    scales: Scales<'a>,
    /// The keys that are not compared in full, in order.
    crowded: Vec<u64>,
    given_up: &'a GivenUp<'a>,
}

impl Comparison<'_> {
    fn edges(&self, holders: &[(u64, u32)]) -> Vec<Edge> {
        let mut edges = Vec::new();
        for block in holders.chunk_by(|one, other| one.0 == other.0).filter(|block| block.len() > 1) {
            let key = block[0].0;
            let mut members: Vec<u32> = block.iter().map(|(_, node)| *node).collect();
            let reach = if is_crowded(self.columns, block) {
                members.sort_by_cached_key(|number| self.place(*number));
                NEIGHBOURS
            } else {
                members.len()
            };
            for (at, a) in members.iter().enumerate() {
                if (self.given_up)() {
                    return edges;
                }
                edges.extend(members[at + 1..].iter().take(reach).filter_map(|b| self.edge(key, *a, *b)));
            }
        }
        edges
    }

    fn edge(&self, key: u64, a: u32, b: u32) -> Option<Edge> {
        let (node_a, node_b) = (&self.columns.nodes[a as usize], &self.columns.nodes[b as usize]);
        if (node_a.is_contact && node_b.is_contact) || self.met_before(node_a, node_b, key) {
            return None;
        }
        let weighed = self.scales.weigh(node_a, node_b)?;
        Some(Edge { a: a.min(b), b: a.max(b), weighed })
    }

    /// Whether an earlier key of the first node, compared in full, brought the two together already.
    fn met_before(&self, a: &Node, b: &Node, key: u64) -> bool {
        let earlier = a.keys.iter().take_while(|earlier| **earlier != key);
        earlier
            .filter(|earlier| **earlier != 0 && b.keys.contains(earlier))
            .any(|earlier| self.crowded.binary_search(earlier).is_err())
    }

    /// Where a node stands in a crowd: beside those of its name, then of its company and city.
    fn place(&self, number: u32) -> (&str, &str, &str, u32) {
        let node = &self.columns.nodes[number as usize];
        let text = |number| self.columns.texts.text(number);
        (text(node.name()), text(node.company_name), text(node.city), number)
    }
}

/// Every key of every node, those of one key together.
fn blocks(columns: &Columns) -> Vec<(u64, u32)> {
    let mut holders: Vec<(u64, u32)> = Vec::with_capacity(columns.nodes.len() * 3);
    for (number, node) in (0u32..).zip(&columns.nodes) {
        holders.extend(node.keys.iter().filter(|key| **key != 0).map(|key| (*key, number)));
    }
    holders.sort_unstable();
    holders
}

fn is_crowded(columns: &Columns, block: &[(u64, u32)]) -> bool {
    let rows = block.iter().filter(|(_, node)| !columns.nodes[*node as usize].is_contact).count();
    rows * block.len() > PAIRS_MAX
}

/// The keys that are not compared in full, in order.
fn crowded(columns: &Columns, holders: &[(u64, u32)]) -> Vec<u64> {
    holders
        .chunk_by(|one, other| one.0 == other.0)
        .filter(|block| is_crowded(columns, block))
        .map(|block| block[0].0)
        .collect()
}

/// Counts the different names on each phone number and e-mail address.
///
/// The records of a name's key may share a number as well; the number's own key holds them all, hence the most counts.
fn count_holders(columns: &mut Columns, holders: &[(u64, u32)]) {
    for block in holders.chunk_by(|one, other| one.0 == other.0).filter(|block| block.len() > 1) {
        let first = &columns.nodes[block[0].1 as usize];
        let shares = |kind: MatchOn| {
            block[1..].iter().all(|(_, node)| first.agrees(&columns.nodes[*node as usize], kind))
        };
        let (phone, email) = (shares(MatchOn::Phone), shares(MatchOn::Email));
        if !phone && !email {
            continue;
        }
        let mut names: Vec<u32> = block
            .iter()
            .map(|(_, node)| columns.nodes[*node as usize].name())
            .filter(|name| *name != 0)
            .collect();
        names.sort_unstable();
        names.dedup();
        let count = u16::try_from(names.len()).unwrap_or(u16::MAX).max(1);
        for (_, node) in block {
            let node = &mut columns.nodes[*node as usize];
            if phone {
                node.phone_holders = node.phone_holders.max(count);
            }
            if email {
                node.email_holders = node.email_holders.max(count);
            }
        }
    }
}
