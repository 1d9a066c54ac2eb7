//! Local days and hours: what an instant is on the clocks of a time zone.
//!
//! Always from the instant to the clock, never back, so that an hour that a clock shows twice or not at all is no
//! question: every instant has exactly one local time. The one way back, from a wall clock's hour to the next
//! instant that shows it, goes forward over a gap and takes the first of two.
//!
//! Days tile: each ends where the next begins, whether it has 23, 24 or 25 hours, begins at one o'clock because
//! midnight was skipped, or is left out altogether.

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Why a zone or an hour is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The name is not in the IANA database.
    #[error("time zone is not one of the IANA database")]
    UnknownZone,
    /// The text is not `HH:MM`.
    #[error("a time of day must be HH:MM, from 00:00 to 23:59")]
    NotATime,
    /// A window that begins when it ends says nothing.
    #[error("a window must not end when it starts")]
    EmptyWindow,
    /// Days of the week are 1 (Monday) to 7 (Sunday).
    #[error("a day of the week must be a number from 1, which is Monday, to 7")]
    NotAWeekday,
}

/// The zone of this IANA name.
pub fn zone(name: &str) -> Result<TimeZone, CalendarError> {
    TimeZone::get(name).map_err(|_| CalendarError::UnknownZone)
}

/// The instants of one local day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDay {
    /// Its first instant.
    pub starts_at: Timestamp,
    /// The first instant after it.
    pub ends_at: Timestamp,
}

/// The local day of an instant.
pub fn local_day(zone: &TimeZone, at: Timestamp) -> LocalDay {
    let date = at.jiff().to_zoned(zone.clone()).date();
    let starts_at = day_start(zone, Some(date)).unwrap_or(Timestamp::MIN);
    let ends_at = day_start(zone, date.tomorrow().ok()).unwrap_or(Timestamp::MAX);
    LocalDay { starts_at, ends_at }
}

fn day_start(zone: &TimeZone, date: Option<Date>) -> Option<Timestamp> {
    date?.to_zoned(zone.clone()).ok().map(|start| start.timestamp().into())
}

/// `HH:MM` of a wall clock, in minutes after midnight.
fn minutes(text: &str) -> Result<i16, CalendarError> {
    let digits = |part: &str| match part.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(i16::from(tens - b'0') * 10 + i16::from(ones - b'0'))
        }
        _ => None,
    };
    let (hours, minutes) = text.split_once(':').ok_or(CalendarError::NotATime)?;
    match (digits(hours), digits(minutes)) {
        (Some(hours @ 0..24), Some(minutes @ 0..60)) => Ok(hours * 60 + minutes),
        _ => Err(CalendarError::NotATime),
    }
}

/// Hours of the day on the clocks of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HoursOfDay {
    /// `HH:MM`, inclusive.
    pub start: String,
    /// `HH:MM`, exclusive; before `start` means over midnight.
    pub end: String,
    /// IANA time zone.
    pub tz: String,
}

impl HoursOfDay {
    /// Whether the hours and the zone can be read, and the window is not empty.
    pub fn check(&self) -> Result<(), CalendarError> {
        zone(&self.tz)?;
        if minutes(&self.start)? == minutes(&self.end)? { Err(CalendarError::EmptyWindow) } else { Ok(()) }
    }

    /// Whether the clocks of the zone show an hour of the window at this instant.
    pub fn contain(&self, at: Timestamp) -> Result<bool, CalendarError> {
        let (start, end) = (minutes(&self.start)?, minutes(&self.end)?);
        let time = at.jiff().to_zoned(zone(&self.tz)?).time();
        let now = i16::from(time.hour()) * 60 + i16::from(time.minute());
        Ok(match start.cmp(&end) {
            std::cmp::Ordering::Less => (start..end).contains(&now),
            std::cmp::Ordering::Greater => now >= start || now < end,
            std::cmp::Ordering::Equal => return Err(CalendarError::EmptyWindow),
        })
    }
}

/// When something may happen: hours of the day, on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeeklyHours {
    /// The hours.
    pub hours: HoursOfDay,
    /// Days of the week on which they count, 1 (Monday) to 7 (Sunday); empty means every day. Hours after midnight
    /// count to the day that they are on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<u8>,
}

/// A day of each kind and one more is within this many days, wherever hours are skipped.
const DAYS_SEARCHED: i32 = 15;

impl WeeklyHours {
    /// Whether it can ever be open.
    pub fn check(&self) -> Result<(), CalendarError> {
        self.hours.check()?;
        if self.weekdays.iter().all(|day| (1..=7).contains(day)) {
            Ok(())
        } else {
            Err(CalendarError::NotAWeekday)
        }
    }

    /// Whether it is open at this instant.
    pub fn contain(&self, at: Timestamp) -> Result<bool, CalendarError> {
        let weekday = at.jiff().to_zoned(zone(&self.hours.tz)?).date().weekday().to_monday_one_offset();
        let on =
            self.weekdays.is_empty() || self.weekdays.iter().any(|day| i16::from(*day) == i16::from(weekday));
        Ok(on && self.hours.contain(at)?)
    }

    /// The first instant from `at` on at which it is open; `at` itself if it is.
    pub fn next_opening(&self, at: Timestamp) -> Result<Option<Timestamp>, CalendarError> {
        if self.contain(at)? {
            return Ok(Some(at));
        }
        let zone = zone(&self.hours.tz)?;
        let start = minutes(&self.hours.start)?;
        let start = Time::constant((start / 60) as i8, (start % 60) as i8, 0, 0);
        let today = at.jiff().to_zoned(zone.clone()).date();
        for days in 0..DAYS_SEARCHED {
            let Ok(date) = today.checked_add(days.days()) else { break };
            let on_clock = |time| {
                let zoned = date.to_datetime(time).to_zoned(zone.clone()).ok();
                zoned.map(|zoned| Timestamp::from(zoned.timestamp()))
            };
            // It opens with its own start; with the day, where the day before does not count; or where the clocks
            // are put on past its start.
            let midnight = on_clock(Time::midnight());
            let put_on = midnight.and_then(|midnight| zone.following(midnight.jiff()).next());
            let put_on = put_on.map(|transition| Timestamp::from(transition.timestamp()));
            let mut openings: Vec<Timestamp> = [midnight, on_clock(start), put_on]
                .into_iter()
                .flatten()
                .filter(|opening| *opening >= at)
                .collect();
            openings.sort_unstable();
            for opening in openings {
                let same_day = opening.jiff().to_zoned(zone.clone()).date() == date;
                if same_day && self.contain(opening)? {
                    return Ok(Some(opening));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(start: &str, end: &str, tz: &str) -> HoursOfDay {
        HoursOfDay { start: start.into(), end: end.into(), tz: tz.into() }
    }

    #[test]
    fn a_day_has_the_hours_that_its_clocks_show() {
        for (tz, instant, starts, ends, hours) in [
            ("UTC", "2026-11-21T12:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", 24),
            ("Europe/Paris", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23),
            ("Europe/Paris", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
            // Midnight itself is skipped.
            ("America/Santiago", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z", 23),
            (
                "Asia/Kathmandu",
                "2026-11-21T18:14:59.999Z",
                "2026-11-20T18:15:00Z",
                "2026-11-21T18:15:00Z",
                24,
            ),
            ("Antarctica/Troll", "2026-03-29T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T22:00:00Z", 22),
        ] {
            let day = local_day(&zone(tz).unwrap(), at(instant));
            assert_eq!((day.starts_at, day.ends_at), (at(starts), at(ends)), "{tz} {instant}");
            assert_eq!((day.ends_at.millis() - day.starts_at.millis()) / 3_600_000, hours, "{tz} {instant}");
        }
    }

    #[test]
    fn days_tile_also_where_one_is_left_out() {
        for (tz, from) in [
            ("Pacific/Apia", "2011-12-27T00:00:00Z"),
            ("Europe/Paris", "2026-03-27T00:00:00Z"),
            ("Europe/Paris", "2026-10-23T00:00:00Z"),
            ("America/Santiago", "2026-09-04T00:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-02T00:00:00Z"),
        ] {
            let zone = zone(tz).unwrap();
            let mut day = local_day(&zone, at(from));
            for _ in 0..6 {
                let next = local_day(&zone, day.ends_at);
                assert_eq!(next.starts_at, day.ends_at, "{tz}");
                assert_eq!(local_day(&zone, day.ends_at.plus_millis(-1)), day, "{tz}");
                day = next;
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_days_too() {
        for instant in [Timestamp::MIN, Timestamp::MAX] {
            for tz in ["Pacific/Kiritimati", "Pacific/Pago_Pago"] {
                let day = local_day(&zone(tz).unwrap(), instant);
                assert!(day.starts_at <= instant && instant <= day.ends_at, "{tz}");
            }
        }
    }

    #[test]
    fn a_window_includes_its_start_and_not_its_end() {
        for (window, instant, within) in [
            (hours("09:00", "17:00", "Europe/Paris"), "2026-11-21T07:59:59.999Z", false),
            (hours("09:00", "17:00", "Europe/Paris"), "2026-11-21T08:00:00Z", true),
            (hours("09:00", "17:00", "Europe/Paris"), "2026-11-21T15:59:59.999Z", true),
            (hours("09:00", "17:00", "Europe/Paris"), "2026-11-21T16:00:00Z", false),
            (hours("22:00", "06:00", "UTC"), "2026-11-21T21:59:59Z", false),
            (hours("22:00", "06:00", "UTC"), "2026-11-21T22:00:00Z", true),
            (hours("22:00", "06:00", "UTC"), "2026-11-22T05:59:59Z", true),
            (hours("22:00", "06:00", "UTC"), "2026-11-22T06:00:00Z", false),
            (hours("00:00", "23:59", "UTC"), "2026-11-22T23:59:00Z", false),
            // 02:30 is shown twice, and both count; an hour that is skipped is never shown.
            (hours("02:00", "03:00", "Europe/Paris"), "2026-10-25T00:30:00Z", true),
            (hours("02:00", "03:00", "Europe/Paris"), "2026-10-25T01:30:00Z", true),
            (hours("02:00", "03:00", "Europe/Paris"), "2026-03-29T00:59:59Z", false),
            (hours("02:00", "03:00", "Europe/Paris"), "2026-03-29T01:00:00Z", false),
            (hours("01:30", "03:30", "Europe/Paris"), "2026-03-29T01:15:00Z", true),
        ] {
            assert_eq!(window.contain(at(instant)), Ok(within), "{window:?} {instant}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for (window, refusal) in [
            (hours("24:00", "06:00", "UTC"), CalendarError::NotATime),
            (hours("9:00", "17:00", "UTC"), CalendarError::NotATime),
            (hours("09:60", "17:00", "UTC"), CalendarError::NotATime),
            (hours("09:00 ", "17:00", "UTC"), CalendarError::NotATime),
            (hours("0900", "17:00", "UTC"), CalendarError::NotATime),
            (hours("+9:00", "17:00", "UTC"), CalendarError::NotATime),
            (hours("٠٩:٠٠", "17:00", "UTC"), CalendarError::NotATime),
            (hours("09:00", "09:00", "UTC"), CalendarError::EmptyWindow),
            (hours("09:00", "17:00", "Europe/Lutetia"), CalendarError::UnknownZone),
            (hours("09:00", "17:00", ""), CalendarError::UnknownZone),
        ] {
            assert_eq!(window.check(), Err(refusal), "{window:?}");
        }
    }

    #[test]
    fn the_next_opening_is_the_first_instant_that_is_open() {
        let week = |start: &str, end: &str, tz: &str, weekdays: &[u8]| WeeklyHours {
            hours: hours(start, end, tz),
            weekdays: weekdays.to_vec(),
        };
        for (window, from, opening) in [
            // A Saturday; the office opens on Monday.
            (
                week("09:00", "17:00", "Europe/Paris", &[1, 2, 3, 4, 5]),
                "2026-11-21T10:00:00Z",
                "2026-11-23T08:00:00Z",
            ),
            (week("09:00", "17:00", "Europe/Paris", &[]), "2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
            (week("09:00", "17:00", "Europe/Paris", &[]), "2026-11-21T16:00:00Z", "2026-11-22T08:00:00Z"),
            (week("22:00", "06:00", "UTC", &[]), "2026-11-21T06:00:00Z", "2026-11-21T22:00:00Z"),
            // Over midnight into the one day that counts.
            (week("22:00", "06:00", "UTC", &[7]), "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"),
            // The hour is skipped that night: the next one is a day later.
            (week("02:00", "03:00", "Europe/Paris", &[]), "2026-03-29T00:30:00Z", "2026-03-30T00:00:00Z"),
            // The hour is shown twice: the first.
            (week("02:00", "03:00", "Europe/Paris", &[]), "2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z"),
            // Half of the window is skipped: it opens where the clocks go on.
            (week("02:30", "03:30", "Europe/Paris", &[]), "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
        ] {
            assert_eq!(window.next_opening(at(from)), Ok(Some(at(opening))), "{window:?} {from}");
        }
    }

    #[test]
    fn a_weekday_is_one_of_seven() {
        for weekdays in [vec![0], vec![8], vec![1, 255]] {
            let window = WeeklyHours { hours: hours("09:00", "17:00", "UTC"), weekdays };
            assert_eq!(window.check(), Err(CalendarError::NotAWeekday));
        }
    }
}
