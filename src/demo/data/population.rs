//! Who stands in which sheet, and in which line: people, the doubles among them, and rows of no use.
//!
//! The share of every kind of mess is a table here; what it looks like is `mess`.

use std::collections::BTreeSet;

use super::DemoCounts;
use super::cities;
use super::companies::{self, Company};
use super::dice::Dice;
use super::mess::{self, Double};
use super::people::{Person, Registry};
use super::sheets::Row;

/// What a sheet holds.
struct Plan {
    rows: usize,
    /// People of companies abroad, among the rows.
    abroad: usize,
    doubles: [(Double, usize); 4],
    unusable: usize,
    damaged: usize,
    /// People who share the number of a colleague.
    switchboards: usize,
    /// People who opted out, and doubles that say so of a person whose first row does not.
    opt_outs: usize,
    opt_outs_on_doubles: usize,
}

const fn doubles(email: usize, plus_tag: usize, phone: usize, name: usize) -> [(Double, usize); 4] {
    [
        (Double::Email, email),
        (Double::PlusTag, plus_tag),
        (Double::Phone, phone),
        (Double::NameAndCompany, name),
    ]
}

const PLANS: [Plan; 3] = [
    Plan {
        rows: 12_400,
        abroad: 0,
        doubles: doubles(80, 10, 100, 25),
        unusable: 130,
        damaged: 45,
        switchboards: 80,
        opt_outs: 110,
        opt_outs_on_doubles: 6,
    },
    Plan {
        rows: 5_600,
        abroad: 1_550,
        doubles: doubles(95, 25, 80, 25),
        unusable: 40,
        damaged: 20,
        switchboards: 40,
        opt_outs: 55,
        opt_outs_on_doubles: 8,
    },
    Plan {
        rows: 2_000,
        abroad: 0,
        doubles: doubles(75, 45, 40, 0),
        unusable: 50,
        damaged: 15,
        switchboards: 0,
        opt_outs: 15,
        opt_outs_on_doubles: 6,
    },
];

impl Plan {
    fn people(&self) -> usize {
        self.rows - self.doubles.iter().map(|double| double.1).sum::<usize>() - self.unusable - self.damaged
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Switchboard,
    Double(Double),
    Unusable,
    Damaged,
}

pub(super) struct Entry {
    pub(super) row: Row,
    pub(super) kind: Kind,
}

/// The lines of the three sheets.
pub(super) fn sheets(seed: u64) -> [Vec<Entry>; 3] {
    let mut writer = Writer::new(seed);
    std::array::from_fn(|sheet| writer.sheet(sheet, &PLANS[sheet]))
}

pub(super) fn counts(sheet: &[Entry]) -> DemoCounts {
    let mut counts = DemoCounts { rows: sheet.len(), ..DemoCounts::default() };
    for entry in sheet {
        match entry.kind {
            Kind::Person => {}
            Kind::Switchboard => counts.shared_switchboard += 1,
            Kind::Double(Double::Email) => counts.doubles_by_email += 1,
            Kind::Double(Double::PlusTag) => counts.doubles_by_plus_tag += 1,
            Kind::Double(Double::Phone) => counts.doubles_by_phone += 1,
            Kind::Double(Double::NameAndCompany) => counts.doubles_by_name_and_company += 1,
            Kind::Unusable => counts.unusable += 1,
            Kind::Damaged => counts.damaged += 1,
        }
        if entry.row.opted_out {
            counts.opt_outs += 1;
            counts.opt_outs_on_doubles += usize::from(matches!(entry.kind, Kind::Double(_)));
        }
    }
    counts
}

/// A person, the company, and whether a double may still be made.
struct Known {
    person: Person,
    company: usize,
    free: bool,
}

struct Writer {
    dice: Dice,
    registry: Registry,
    companies: Vec<Company>,
    /// Places in French companies and in those abroad, in the order in which they will be filled.
    seats: [Vec<usize>; 2],
    known: Vec<Known>,
}

impl Writer {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "companies");
        let rows: usize = PLANS.iter().map(|plan| plan.rows).sum();
        let abroad = PLANS.iter().map(|plan| plan.abroad).sum();
        let mut companies = companies::found(&mut dice, cities::FRENCH, rows - abroad);
        let border = companies.len();
        companies.extend(companies::found(&mut dice, cities::FOREIGN, abroad));
        let mut seats = [0..border, border..companies.len()].map(|range| {
            range
                .flat_map(|company| std::iter::repeat_n(company, companies[company].people))
                .collect::<Vec<_>>()
        });
        for seats in &mut seats {
            dice.shuffle(seats);
        }
        Self {
            dice: Dice::new(seed, "people"),
            registry: Registry::default(),
            companies,
            seats,
            known: Vec::new(),
        }
    }

    fn sheet(&mut self, sheet: usize, plan: &Plan) -> Vec<Entry> {
        let first = self.known.len();
        for number in 0..plan.people() {
            let known = self.hire(number < plan.abroad);
            self.known.push(known);
        }
        self.dice.shuffle(&mut self.known[first..]);
        self.share_switchboards(first, plan.switchboards);
        self.opt_out(first, plan.opt_outs);

        // A line is placed by a number; what comes later, such as a double, gets a greater one.
        let mut lines: Vec<(usize, Entry)> = Vec::with_capacity(plan.rows);
        for (number, known) in self.known[first..].iter_mut().enumerate() {
            let kind = if known.person.switchboard { Kind::Switchboard } else { Kind::Person };
            let mut row = mess::row(&mut self.dice, sheet, &known.person);
            if sheet == 1 && self.dice.percent(2) {
                mess::garble(&mut row);
                // No double: nobody could say by its name that it is one.
                known.free = false;
            }
            lines.push((number, Entry { row, kind }));
        }
        let last = lines.len();
        let mut opt_outs = plan.opt_outs_on_doubles;
        for how in plan.doubles.iter().flat_map(|(how, count)| std::iter::repeat_n(*how, *count)) {
            let (known, mut row) = self.double(sheet, how);
            // Only a double that is found by its address opts out: then nobody doubts whom it means.
            row.opted_out = how == Double::Email && opt_outs > 0 && !self.known[known].person.opted_out;
            opt_outs -= usize::from(row.opted_out);
            let earliest = known.checked_sub(first).map_or(0, |number| number + 1);
            lines.push((
                earliest + self.dice.below(last - earliest + 1),
                Entry { row, kind: Kind::Double(how) },
            ));
        }
        for number in 0..plan.unusable + plan.damaged {
            let Known { person, company, .. } = self.hire(false);
            let domain = self.companies[company].domain.clone().unwrap_or_else(|| "example.com".to_owned());
            let (row, kind) = if number < plan.unusable {
                (mess::unusable(&mut self.dice, sheet, &person, &domain), Kind::Unusable)
            } else {
                (mess::damaged(&mut self.dice, sheet, &person, &domain), Kind::Damaged)
            };
            lines.push((self.dice.below(last), Entry { row, kind }));
        }
        // Stable: a person pushed before a double of the same place stays before it.
        lines.sort_by_key(|line| line.0);
        lines.into_iter().map(|line| line.1).collect()
    }

    fn hire(&mut self, abroad: bool) -> Known {
        let company = self.seats[usize::from(abroad)].pop().expect("there is a seat for every row");
        let person = self.registry.hire(&mut self.dice, &self.companies[company]);
        Known { person, company, free: true }
    }

    /// Some people answer to the number of a colleague who stands before them. They keep their own address.
    fn share_switchboards(&mut self, first: usize, count: usize) {
        let mut desks: Vec<Option<usize>> = vec![None; self.companies.len()];
        let mut left = count;
        for index in first..self.known.len() {
            let Known { person, company, .. } = &self.known[index];
            if left == 0 {
                break;
            }
            let complete = !person.first.is_empty() && !person.last.is_empty() && !person.company.is_empty();
            if !complete || person.email.is_none() || person.phone.is_none() {
                continue;
            }
            // Two at one number at most, so that the shared ones are spread over many companies.
            let other = |desk: &usize| {
                let Known { person: colleague, free, .. } = &self.known[*desk];
                *free && colleague.first != person.first && colleague.last != person.last
            };
            let Some(desk) = desks[*company].replace(index).filter(other) else { continue };
            let phone = self.known[desk].person.phone;
            self.known[desk].free = false;
            self.known[index].free = false;
            self.known[index].person.phone = phone;
            self.known[index].person.switchboard = true;
            left -= 1;
        }
    }

    fn opt_out(&mut self, first: usize, count: usize) {
        let mut chosen = BTreeSet::new();
        while chosen.len() < count {
            chosen.insert(first + self.dice.below(self.known.len() - first));
        }
        for index in chosen {
            self.known[index].person.opted_out = true;
        }
    }

    /// Somebody of this sheet or an earlier one, once more.
    fn double(&mut self, sheet: usize, how: Double) -> (usize, Row) {
        let index = loop {
            let index = self.dice.below(self.known.len());
            if self.known[index].free && how.fits(&self.known[index].person) {
                break index;
            }
        };
        let Known { person, company, free } = &mut self.known[index];
        *free = false;
        let company = &self.companies[*company];
        let or = |name: &str, other: &str| if name.is_empty() { other.to_owned() } else { name.to_owned() };
        let (first, last) = (or(&person.first, "info"), or(&person.last, "bureau"));
        let mut other = person.clone();
        other.email = Some(self.registry.email(&mut self.dice, company, &first, &last));
        other.phone = self.registry.phone(&mut self.dice, company.city);
        (index, mess::double(&mut self.dice, sheet, how, person, &other))
    }
}
