//! The people of the sample as they are: who they are, where they work, how they can be reached.
//!
//! No two of them share an e-mail address, nobody has a namesake in the same company, and each telephone
//! number belongs to one person, save where a company has a switchboard. What clerks make of them is
//! `mess`.

use std::collections::HashSet;

use super::cities::City;
use super::companies::{Addresses, Company, JOBS_ABROAD};
use super::dice::Dice;
use super::names::{self, ascii};
use super::phones::{Exchange, Phone, Zone};

#[derive(Clone)]
pub(super) struct Person {
    pub(super) woman: bool,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) job: &'static str,
    /// Empty for the few who left no company.
    pub(super) company: String,
    pub(super) email: Option<String>,
    pub(super) phone: Option<Phone>,
    pub(super) city: &'static City,
    /// In French and English.
    pub(super) tags: Vec<(&'static str, &'static str)>,
    pub(super) opted_out: bool,
    pub(super) switchboard: bool,
}

/// Gives every person what nobody else has.
#[derive(Default)]
pub(super) struct Registry {
    exchange: Exchange,
    emails: HashSet<String>,
    namesakes: HashSet<(String, String)>,
}

/// Ways in which a person came to the agency, in French and English.
const ORIGINS: &[(&str, &str)] = &[
    ("salon-habitat", "trade-fair"),
    ("annuaire", "directory"),
    ("recommandation", "referral"),
    ("newsletter", "newsletter"),
    ("ancien-client", "former-client"),
];

const SHARED_MAILBOXES: &[&str] = &[
    "contact",
    "info",
    "accueil",
    "direction",
    "secretariat",
    "travaux",
    "compta",
    "commercial",
    "achats",
    "devis",
];

impl Registry {
    /// Somebody new at this company.
    pub(super) fn hire(&mut self, dice: &mut Dice, company: &Company) -> Person {
        let (first, last, woman) = loop {
            let (first, last, woman) = names::person(dice, company.city.country);
            if self.namesakes.insert((format!("{} {}", ascii(&first), ascii(&last)), company.name.clone())) {
                break (first, last, woman);
            }
        };
        // Nobody is without both: whoever left no number, or lives where there are none, left an e-mail
        // address.
        let writes = dice.percent(89);
        let phone = if !writes || dice.percent(84) { self.phone(dice, company.city) } else { None };
        let email = (writes || phone.is_none()).then(|| self.email(dice, company, &first, &last));

        // Some rows know only a family name, and those of a shared mailbox often nobody at all.
        let mailbox = email.as_deref().and_then(|email| email.split('@').next());
        let shared = mailbox.is_some_and(|mailbox| SHARED_MAILBOXES.contains(&mailbox));
        let (first, last) = match dice.below(100) {
            0..60 if shared => (String::new(), String::new()),
            96..100 => (String::new(), last),
            _ => (first, last),
        };
        Person {
            woman,
            first,
            last,
            job: if dice.percent(70) { job(dice, company, woman) } else { "" },
            company: if dice.percent(97) { company.name.clone() } else { String::new() },
            email,
            phone,
            city: company.city,
            tags: tags(dice, company),
            opted_out: false,
            switchboard: false,
        }
    }

    /// An address nobody has yet, in the manner of the company.
    pub(super) fn email(&mut self, dice: &mut Dice, company: &Company, first: &str, last: &str) -> String {
        let (first, last) = (ascii(first), ascii(last).replace('-', ""));
        let initial = &first[..first.len().min(1)];
        let (mailbox, domain) = match &company.domain {
            Some(domain) if dice.percent(7) => (dice.pick_low(SHARED_MAILBOXES).to_owned(), domain.clone()),
            Some(domain) => {
                let mailbox = match company.addresses {
                    Addresses::FirstDotLast => format!("{first}.{last}"),
                    Addresses::InitialLast => format!("{initial}{last}"),
                    Addresses::InitialDotLast => format!("{initial}.{last}"),
                    Addresses::LastDotFirst => format!("{last}.{first}"),
                    Addresses::First => first,
                };
                (mailbox, domain.clone())
            }
            // The providers of the sample are the three domains that RFC 2606 reserves.
            None => {
                let mailbox = match dice.below(5) {
                    0 | 1 => format!("{first}.{last}"),
                    2 => format!("{first}{}", dice.between(1, 99)),
                    3 => format!("{last}.{}", ascii(company.city.name)),
                    _ => ascii(&company.name),
                };
                (
                    mailbox,
                    dice.pick_low(&["example.com", "example.net", "example.org", "mail.example.com"])
                        .to_owned(),
                )
            }
        };
        let mut address = format!("{mailbox}@{domain}");
        let mut attempt = 1;
        while !self.emails.insert(address.clone()) {
            attempt += 1;
            address = format!("{mailbox}{attempt}@{domain}");
        }
        address
    }

    /// A number nobody has yet, in a town where there are such numbers.
    pub(super) fn phone(&mut self, dice: &mut Dice, city: &City) -> Option<Phone> {
        let zone = match city.country {
            "FR" if dice.percent(42) => Zone::FrenchMobile,
            "GB" if dice.percent(40) => Zone::BritishMobile,
            _ => city.zone?,
        };
        self.exchange.connect(zone)
    }
}

fn job(dice: &mut Dice, company: &Company, woman: bool) -> &'static str {
    if company.city.country != "FR" {
        return dice.pick_low(JOBS_ABROAD);
    }
    let (man_s, woman_s) = dice.pick_low(company.sector.jobs);
    if woman { woman_s } else { man_s }
}

fn tags(dice: &mut Dice, company: &Company) -> Vec<(&'static str, &'static str)> {
    if dice.percent(14) {
        return Vec::new();
    }
    let mut tags = vec![dice.pick_low(company.sector.tags)];
    if dice.percent(30) {
        tags.push(dice.pick(company.sector.tags));
    }
    if dice.percent(45) {
        tags.push(dice.pick_low(ORIGINS));
    }
    let mut seen = HashSet::new();
    tags.retain(|tag| seen.insert(tag.0));
    tags
}
