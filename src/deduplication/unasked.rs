//! Rows and contacts that agree in an address, a number or an id that was not asked for.
//!
//! `matchOn` says which agreements may propose a pair. A commit asks nobody: it looks for whoever has the row's id, address or
//! number. So a row that is Ann by what was asked for, and has Bob's id, would give Bob what is Ann's; such pairs are found
//! here, join nothing, and make the row's group a question (see `grouping`).

use std::collections::HashMap;

use super::candidates::Edge;
use super::columns::{Columns, Node};
use super::evidence::{HOLDERS_MAX, Scales};
use super::{GivenUp, MatchOn, Options};

/// Each such pair, in order; some of them once it was given up. Of what many contacts have the first are told.
pub(super) fn weigh_all(columns: &mut Columns, options: &Options, given_up: &GivenUp<'_>) -> Vec<Edge> {
    let mut pairs = Vec::new();
    for kind in [MatchOn::Email, MatchOn::Phone, MatchOn::ExternalId] {
        if !options.match_on.contains(&kind) {
            pairs.extend(agreeing(columns, kind));
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    let scales = Scales::new(columns, options);
    let weighed = |(row, contact): (u32, u32)| {
        let node = |number: u32| &columns.nodes[number as usize];
        let weighed = scales.weigh_known_by(node(row), node(contact))?;
        Some(Edge { a: row.min(contact), b: row.max(contact), weighed })
    };
    pairs.into_iter().take_while(|_| !given_up()).filter_map(weighed).collect()
}

/// Who has one value.
#[derive(Default)]
struct Holders {
    nodes: Vec<u32>,
    contacts: Vec<u32>,
    names: Vec<u32>,
}

/// The rows and contacts that have one value of a kind. How many names have it is noted of each.
fn agreeing(columns: &mut Columns, kind: MatchOn) -> Vec<(u32, u32)> {
    let mut by_value: HashMap<u64, Holders> = HashMap::new();
    for contact in &columns.contacts {
        let value = value(&columns.nodes[contact.node as usize], kind);
        if value != 0 {
            by_value.entry(value).or_default().contacts.push(contact.node);
        }
    }
    if by_value.is_empty() {
        return Vec::new();
    }
    for (number, node) in (0..).zip(&columns.nodes) {
        let Some(holders) = by_value.get_mut(&value(node, kind)) else { continue };
        holders.nodes.push(number);
        if node.name() != 0 {
            holders.names.push(node.name());
        }
    }
    let mut pairs = Vec::new();
    for holders in by_value.values_mut() {
        holders.names.sort_unstable();
        holders.names.dedup();
        let count = u16::try_from(holders.names.len()).unwrap_or(u16::MAX).max(1);
        for number in &holders.nodes {
            let node = &mut columns.nodes[*number as usize];
            match kind {
                MatchOn::Email => node.email_holders = node.email_holders.max(count),
                MatchOn::Phone => node.phone_holders = node.phone_holders.max(count),
                MatchOn::ExternalId | MatchOn::NameCompany => {}
            }
            if !node.is_contact {
                let contacts = holders.contacts.iter().take(usize::from(HOLDERS_MAX));
                pairs.extend(contacts.map(|contact| (*number, *contact)));
            }
        }
    }
    pairs
}

/// What a node has of a kind, as a number; 0 is nothing.
fn value(node: &Node, kind: MatchOn) -> u64 {
    match kind {
        MatchOn::Email => node.email.into(),
        MatchOn::Phone => node.phone,
        MatchOn::ExternalId => node.external.into(),
        MatchOn::NameCompany => 0,
    }
}
