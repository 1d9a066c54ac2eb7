use super::*;
use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use uuid::Uuid;

type Given = TestFramework<Credential>;
const ID: CredentialId = CredentialId(Uuid::from_u128(1));

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn limit(daily_cap: Option<u64>, time_zone: &str) -> CredentialCommand {
    CredentialCommand::Limit {
        credential_id: ID,
        secret_id: "smtp".into(),
        daily_cap,
        time_zone: time_zone.into(),
    }
}

fn limited(daily_cap: Option<u64>, time_zone: &str) -> CredentialEvent {
    CredentialEvent::CredentialLimited {
        credential_id: ID,
        secret_id: Personal::known(ID.uuid(), "smtp".into()),
        daily_cap,
        time_zone: time_zone.into(),
    }
}

fn opened(number: u64, starts_at: &str, ends_at: &str, time_zone: &str) -> CredentialEvent {
    CredentialEvent::SendingDayOpened {
        credential_id: ID,
        number,
        starts_at: at(starts_at),
        ends_at: at(ends_at),
        time_zone: time_zone.into(),
    }
}

fn open(instant: &str) -> CredentialCommand {
    CredentialCommand::OpenDay { credential_id: ID, at: at(instant) }
}

#[test]
fn versions_are_counted_and_the_latest_is_the_last() {
    let store = || CredentialCommand::StoreSecret { credential_id: ID, secret_id: "smtp".into() };
    let stored = |version| CredentialEvent::SecretStored {
        credential_id: ID,
        secret_id: Personal::known(ID.uuid(), "smtp".into()),
        version,
    };
    Given::with(()).given_no_previous_events().when(store()).then_expect_events(vec![stored(1)]);
    Given::with(()).given(vec![stored(1)]).when(store()).then_expect_events(vec![stored(2)]);

    let mut credential = Credential::default();
    assert_eq!(credential.version(None), None);
    credential.apply(stored(1));
    credential.apply(stored(2));
    for (wanted, version) in [(None, Some(2)), (Some(1), Some(1)), (Some(3), None), (Some(0), None)] {
        assert_eq!(credential.version(wanted), version);
    }
}

#[test]
fn limits_are_recorded_when_they_differ() {
    Given::with(())
        .given_no_previous_events()
        .when(limit(Some(100), "Europe/Paris"))
        .then_expect_events(vec![limited(Some(100), "Europe/Paris")]);
    Given::with(())
        .given(vec![limited(Some(100), "Europe/Paris")])
        .when(limit(Some(100), "Europe/Paris"))
        .then_expect_events(vec![]);
    Given::with(()).given_no_previous_events().when(limit(None, "UTC")).then_expect_events(vec![]);
}

#[test]
fn what_is_no_limit_is_refused() {
    Given::with(())
        .given_no_previous_events()
        .when(limit(Some(DAILY_CAP_MAX + 1), "UTC"))
        .then_expect_error(CredentialError::CapTooLarge);
    Given::with(())
        .given_no_previous_events()
        .when(limit(None, "Europe/Lutetia"))
        .then_expect_error(CredentialError::Zone(CalendarError::UnknownZone));
    Given::with(())
        .given_no_previous_events()
        .when(CredentialCommand::StoreSecret { credential_id: ID, secret_id: "s3cr3t!".into() })
        .then_expect_error(CredentialError::NotAnId);
}

#[test]
fn a_day_is_opened_once() {
    let day = || opened(1, "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z", "Europe/Paris");
    Given::with(())
        .given(vec![limited(None, "Europe/Paris")])
        .when(open("2026-11-21T12:00:00Z"))
        .then_expect_events(vec![day()]);
    // Also by a clock that is behind.
    for instant in ["2026-11-21T12:00:00Z", "2026-11-21T22:59:59.999Z", "2026-11-20T12:00:00Z"] {
        Given::with(())
            .given(vec![limited(None, "Europe/Paris"), day()])
            .when(open(instant))
            .then_expect_events(vec![]);
    }
    Given::with(())
        .given(vec![limited(None, "Europe/Paris"), day()])
        .when(open("2026-11-21T23:00:00Z"))
        .then_expect_events(vec![opened(2, "2026-11-21T23:00:00Z", "2026-11-22T23:00:00Z", "Europe/Paris")]);
}

#[test]
fn days_without_a_send_are_not_opened() {
    Given::with(())
        .given(vec![opened(1, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "UTC")])
        .when(open("2026-12-24T18:00:00Z"))
        .then_expect_events(vec![opened(2, "2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z", "UTC")]);
}

#[test]
fn a_change_of_zone_begins_with_the_next_day_and_earns_no_send() {
    let paris = || opened(1, "2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z", "Europe/Paris");
    for (zone, starts_at, ends_at) in [
        // In New York it is six in the evening when the day of Paris ends: its rest and the next day are one.
        ("America/New_York", "2026-11-21T23:00:00Z", "2026-11-23T05:00:00Z"),
        // In Tokyo it is eight in the morning.
        ("Asia/Tokyo", "2026-11-21T23:00:00Z", "2026-11-23T15:00:00Z"),
        // Here 23 hours are left, and a day of 23 hours is a day.
        ("Etc/GMT-2", "2026-11-21T23:00:00Z", "2026-11-22T22:00:00Z"),
    ] {
        Given::with(())
            .given(vec![limited(None, "Europe/Paris"), paris(), limited(None, zone)])
            .when(open("2026-11-21T22:59:59Z"))
            .then_expect_events(vec![]);
        Given::with(())
            .given(vec![limited(None, "Europe/Paris"), paris(), limited(None, zone)])
            .when(open("2026-11-21T23:00:00Z"))
            .then_expect_events(vec![opened(2, starts_at, ends_at, zone)]);
    }
}

#[test]
fn days_never_overlap_whatever_the_zones() {
    let zones =
        ["Europe/Paris", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"];
    let mut credential = Credential::default();
    let mut last: Option<SendingDay> = None;
    // Seven hours a step, another zone at every third, through both changes of the clocks.
    for step in 0..2_000_i64 {
        let now = at("2026-01-01T00:00:00Z").plus_millis(step * 7 * 3_600_000);
        if step % 3 == 0 {
            let zone = zones[(step / 3) as usize % zones.len()];
            for event in credential.decide(limit(None, zone)).unwrap() {
                credential.apply(event);
            }
        }
        for event in credential.decide(CredentialCommand::OpenDay { credential_id: ID, at: now }).unwrap() {
            credential.apply(event);
        }
        let day = credential.day_at(now).unwrap();
        assert!(day.starts_at <= now && now < day.ends_at);
        if let Some(last) = last.filter(|last| *last != day) {
            assert!(last.ends_at <= day.starts_at);
            assert!(day.ends_at.millis() - day.starts_at.millis() >= SHORTEST_DAY_MILLIS);
        }
        last = Some(day);
    }
}

#[test]
fn a_reference_is_read_and_written() {
    for text in ["secret://smtp:latest", "secret://Smtp_1-b:12"] {
        assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
    }
    let long = format!("secret://{}:latest", "a".repeat(129));
    for text in [
        "re_123456789",
        "secret://smtp",
        "secret://smtp:0",
        "secret://smtp:01",
        "secret://smtp:+1",
        "secret://smtp:1a",
        "secret://smtp:99999999999",
        "secret://smtp:LATEST",
        "secret://:latest",
        "secret://a b:latest",
        "secret://a:b:latest",
        "SECRET://smtp:latest",
        " secret://smtp:latest",
        long.as_str(),
    ] {
        assert_eq!(text.parse::<SecretRef>(), Err(NotASecretRef), "{text}");
    }
}
