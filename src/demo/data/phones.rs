//! Telephone numbers that ring nowhere, in the ways people type them.
//!
//! All come from ranges that a regulator keeps free for fiction: France (ARCEP, numbers for audiovisual
//! works), the United Kingdom (Ofcom, drama use), Germany (Bundesnetzagentur, `Drama Numbers`), North
//! America (555-01xx). The mobile ranges among them (06 39 98, 07700 900) have the length of a number and
//! no holder: a reader that judges by length takes them, one that asks libphonenumber's `is_valid` for the
//! plan in service refuses them.
//!
//! Numbers are handed out once each; that two rows share one is always somebody's decision.

use super::dice::Dice;

/// One range per area. The order is that of `RANGES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    France1,
    France2,
    France3,
    France4,
    France5,
    FrenchMobile,
    London,
    Birmingham,
    Manchester,
    Leeds,
    BritishMobile,
    Berlin,
    Hamburg,
    Munich,
    Cologne,
    NewYork,
    Boston,
}

struct Range {
    country: &'static str,
    /// Groups of the national number without its trunk prefix, as the country writes them; `#` is a digit
    /// of the line.
    groups: &'static str,
}

const RANGES: [Range; 17] = [
    Range { country: "33", groups: "1 99 00 ## ##" },
    Range { country: "33", groups: "2 61 91 ## ##" },
    Range { country: "33", groups: "3 53 01 ## ##" },
    Range { country: "33", groups: "4 65 71 ## ##" },
    Range { country: "33", groups: "5 36 49 ## ##" },
    Range { country: "33", groups: "6 39 98 ## ##" },
    Range { country: "44", groups: "20 7946 0###" },
    Range { country: "44", groups: "121 496 0###" },
    Range { country: "44", groups: "161 496 0###" },
    Range { country: "44", groups: "113 496 0###" },
    Range { country: "44", groups: "7700 900###" },
    Range { country: "49", groups: "30 23125 ###" },
    Range { country: "49", groups: "40 66969 ###" },
    Range { country: "49", groups: "89 99998 ###" },
    Range { country: "49", groups: "221 4710 ###" },
    Range { country: "1", groups: "212 555 01##" },
    Range { country: "1", groups: "617 555 01##" },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phone {
    zone: Zone,
    line: usize,
}

/// Hands out the numbers of all ranges.
#[derive(Default)]
pub(super) struct Exchange {
    given: [usize; RANGES.len()],
}

impl Exchange {
    /// A number nobody has yet; a French area that has run out borrows from the next. None when all are
    /// given.
    pub(super) fn connect(&mut self, zone: Zone) -> Option<Phone> {
        const FRENCH: [Zone; 5] = [Zone::France1, Zone::France2, Zone::France3, Zone::France4, Zone::France5];
        let borrowed: &[Zone] = if FRENCH.contains(&zone) { &FRENCH } else { &[] };
        let zone =
            *[zone].iter().chain(borrowed).find(|zone| self.given[**zone as usize] < capacity(**zone))?;
        let given = &mut self.given[zone as usize];
        // An odd multiplier that is no multiple of five walks through all lines of a range without meeting
        // one twice.
        let line = (*given * 6_173 + 417) % capacity(zone);
        *given += 1;
        Some(Phone { zone, line })
    }
}

fn capacity(zone: Zone) -> usize {
    RANGES[zone as usize].groups.chars().filter(|sign| *sign == '#').fold(1, |count, _| count * 10)
}

impl Phone {
    /// The number as somebody typed it. French numbers come in any national or international form; others
    /// are always international, for a file without a country cannot tell a national London number from a
    /// French one.
    pub(super) fn typed(self, dice: &mut Dice) -> String {
        let (country, groups) = (RANGES[self.zone as usize].country, self.groups());
        let solid = groups.replace(' ', "");
        match country {
            "33" => match dice.below(100) {
                0..34 => format!("0{groups}"),
                34..54 => format!("0{solid}"),
                54..64 => format!("0{groups}").replace(' ', "."),
                64..68 => format!("0{groups}").replace(' ', "-"),
                68..70 => format!("0{groups}").replace(' ', "/"),
                70..72 => format!("0{groups}").replace(' ', "\u{a0}"),
                72..82 => format!("+33 {groups}"),
                82..88 => format!("+33{solid}"),
                88..91 => format!("0033 {groups}"),
                91..94 => format!("+33 (0){groups}"),
                // A spreadsheet took the leading zero for decoration.
                94..97 => solid,
                97..98 => format!("Tél : 0{groups}"),
                98..99 => format!("(+33) {groups}"),
                _ => format!(" 0{groups} "),
            },
            "1" => match dice.below(3) {
                0 => {
                    let (area, line) = groups.split_once(' ').unwrap_or_default();
                    format!("+1 ({area}) {}", line.replace(' ', "-"))
                }
                1 => format!("+1 {groups}").replace(' ', "-"),
                _ => format!("+1{solid}"),
            },
            _ => match dice.below(5) {
                0 | 1 => format!("+{country} {groups}"),
                2 => format!("00{country} {groups}"),
                3 => format!("+{country} (0){groups}"),
                _ => format!("+{country}{solid}"),
            },
        }
    }

    /// The national number without its trunk prefix, in groups.
    fn groups(self) -> String {
        let Range { groups, .. } = RANGES[self.zone as usize];
        let open = groups.chars().filter(|sign| *sign == '#').count();
        let digits = format!("{:0open$}", self.line);
        let mut digits = digits.chars();
        groups.chars().map(|sign| if sign == '#' { digits.next().unwrap_or('0') } else { sign }).collect()
    }
}

/// Something in the telephone column that is no telephone number by any reading: too short or too long for
/// any, or words.
pub(super) fn broken(dice: &mut Dice) -> String {
    let pair = dice.between(10, 99);
    match dice.below(6) {
        0 => format!("04 65 {pair}"),
        1 => format!("0465{pair}"),
        2 => format!("01 99 {pair} ??"),
        3 => format!("04 65 71 {pair} {pair} {pair} {pair}"),
        // What a spreadsheet makes of a long number.
        4 => format!("4,66E+{:02}", dice.between(8, 9)),
        _ => "voir fiche".to_owned(),
    }
}

/// How a French reader understands what was typed: the number in its international form, if it has the
/// length of one.
#[cfg(test)]
pub(super) fn e164(typed: &str) -> Option<String> {
    use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};

    let number = PHONE_NUMBER_UTIL.parse(typed.trim(), Some(Region::FR)).ok()?;
    let length = PHONE_NUMBER_UTIL.is_possible_number_with_reason(&number);
    matches!(length, Ok(NumberLengthType::IsPossible))
        .then(|| PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ZONES: [Zone; RANGES.len()] = [
        Zone::France1,
        Zone::France2,
        Zone::France3,
        Zone::France4,
        Zone::France5,
        Zone::FrenchMobile,
        Zone::London,
        Zone::Birmingham,
        Zone::Manchester,
        Zone::Leeds,
        Zone::BritishMobile,
        Zone::Berlin,
        Zone::Hamburg,
        Zone::Munich,
        Zone::Cologne,
        Zone::NewYork,
        Zone::Boston,
    ];

    #[test]
    fn every_spelling_of_a_number_is_valid_and_means_the_same_number() {
        let mut dice = Dice::new(1, "spellings");
        let mut exchange = Exchange::default();
        for zone in ZONES.iter().flat_map(|zone| [zone; 20]) {
            let phone = exchange.connect(*zone).expect("twenty lines in each range");
            let readings: BTreeSet<_> = (0..60).map(|_| e164(&phone.typed(&mut dice))).collect();
            assert_eq!(readings.len(), 1, "{readings:?}");
            assert!(readings.first().is_some_and(Option::is_some), "{phone:?} is refused");
        }
    }

    #[test]
    fn a_broken_number_is_refused() {
        let mut dice = Dice::new(1, "broken");
        for typed in (0..200).map(|_| broken(&mut dice)) {
            assert_eq!(e164(&typed), None, "{typed}");
        }
    }

    #[test]
    fn a_number_is_given_once() {
        let mut exchange = Exchange::default();
        for zone in [Zone::Boston, Zone::London] {
            let lines: BTreeSet<_> =
                std::iter::from_fn(|| exchange.connect(zone)).map(|phone| phone.line).collect();
            assert_eq!(lines.len(), capacity(zone));
            assert_eq!(exchange.connect(zone), None);
        }
    }

    #[test]
    fn a_full_french_area_borrows_from_another() {
        let mut exchange = Exchange::default();
        let zones: Vec<_> =
            (0..=10_000).filter_map(|_| exchange.connect(Zone::France4)).map(|p| p.zone).collect();
        assert_eq!((zones[9_999], zones[10_000]), (Zone::France4, Zone::France1));
    }
}
