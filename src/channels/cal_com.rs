//! Bookings at Cal.com, by its API v2.
//!
//! The version of the API is a header; without it an older one answers. There is no idempotency key: the reference
//! goes along as metadata, comes back in every webhook and can be looked up, which settles a booking without an answer.

pub mod webhook;

use docket_aggregates::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::http::{Answer, Http};
use super::problem::{Fields, positive, provider_id, string, text};
use super::said::said;
use super::{Code, Outcome, Outgoing, Problem, listening};

/// What the provider is called in reasons.
const PROVIDER: &str = "Cal.com";
/// The version of the API that is spoken.
const VERSION: &str = "2024-08-13";
/// The name of the metadata that holds the reference.
pub(super) const REFERENCE: &str = "docketReference";

/// An outbox's configuration: `{language?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The language that the attendee is written to in, as `en`.
    pub language: Option<String>,
}

impl Settings {
    /// Reads it.
    pub fn read(config: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("config", config);
        let language = fields.optional("language", provider_id);
        listening::check(&mut fields);
        fields.finish(Some(Self { language }))
    }
}

/// What is booked: `{eventTypeId, start, timeZone, notes?, name?, phoneNumber?, lengthInMinutes?}`.
///
/// Cal.com takes guests, too, and writes to each of them. Here they are refused: allowlist, suppressions and caps judge the
/// recipient of a message, and whoever else is to come is the recipient of one of their own. The attendee's number is part of
/// the recipient, and judged with the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Cal.com's id of the type of event.
    pub event_type_id: u64,
    /// When it starts.
    pub start: Timestamp,
    /// The attendee's time zone, by IANA's name.
    pub time_zone: String,
    /// What the host should know.
    pub notes: Option<String>,
    /// The attendee's name, if it is not the contact's.
    pub name: Option<String>,
    /// The attendee's telephone number.
    pub phone_number: Option<String>,
    /// How long it takes, where the type of event leaves a choice.
    pub length_in_minutes: Option<u64>,
}

impl Payload {
    /// Reads it at the instant `at`: what starts must lie ahead.
    pub fn read(payload: &Value, at: Timestamp) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("payload", payload);
        let event_type_id = fields.required("eventTypeId", positive);
        let start = fields.required("start", |value| {
            let start: Timestamp = string(value)?
                .parse()
                .map_err(|_| ("INVALID_INSTANT", "must be an RFC 3339 instant".to_owned()))?;
            if start > at { Ok(start) } else { Err(("PAST", "must lie in the future".to_owned())) }
        });
        let time_zone = fields.required("timeZone", |value| {
            let name = string(value)?;
            match jiff::tz::TimeZone::get(name) {
                Ok(zone) => Ok(zone.iana_name().unwrap_or(name).to_owned()),
                Err(_) => Err(("UNKNOWN_TIME_ZONE", "must be a time zone of the IANA database".to_owned())),
            }
        });
        let notes = fields.optional("notes", text(5_000));
        let name = fields.optional("name", super::problem::line(200));
        let phone_number = fields.optional("phoneNumber", super::problem::line(40));
        let length_in_minutes = fields.optional("lengthInMinutes", positive);
        fields.refuse(
            "guests",
            "NOT_A_RECIPIENT",
            "is not taken: Cal.com would write to people whom no list was asked about; send each of them a booking of \
             their own",
        );
        let read = event_type_id.zip(start).zip(time_zone).map(|((event_type_id, start), time_zone)| Self {
            event_type_id,
            start,
            time_zone,
            notes,
            name,
            phone_number,
            length_in_minutes,
        });
        fields.finish(read)
    }
}

/// One booking.
#[derive(Clone, Debug)]
pub struct Booking {
    /// What holds for all of the outbox.
    pub settings: Settings,
    /// What is booked.
    pub payload: Payload,
}

#[derive(Deserialize)]
struct Answered {
    status: String,
    data: Booked,
}

/// One booking, or several for an event that recurs.
#[derive(Deserialize)]
#[serde(untagged)]
enum Booked {
    One(BookedOnce),
    Many(Vec<BookedOnce>),
}

#[derive(Deserialize)]
struct BookedOnce {
    uid: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

/// Documented nowhere as a schema; an object in all that was seen, and sometimes a bare text.
#[derive(Deserialize)]
#[serde(untagged)]
enum RefusalError {
    Told {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: Value,
    },
    Text(String),
}

/// Makes the booking.
pub async fn deliver(http: &Http, base: &reqwest::Url, outgoing: &Outgoing, booking: &Booking) -> Outcome {
    let email = outgoing.to.address.as_str();
    if crate::normalise::normalise_email(email, false).is_err() {
        return Outcome::rejected(Code::Recipient, "the attendee's e-mail address cannot be written to");
    }
    if booking.payload.start <= outgoing.at {
        return Outcome::rejected(Code::Content, "the booking's start has passed");
    }
    let request = http
        .post(base, &["v2", "bookings"])
        .bearer_auth(outgoing.credential.trimmed())
        .header("cal-api-version", VERSION)
        .json(&body(outgoing, booking));
    let answer = match http.call(request, outgoing.within).await.answer(PROVIDER) {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    if answer.is_success() {
        let uid =
            answer.json::<Answered>().filter(|told| told.status == "success").and_then(|told| {
                match told.data {
                    Booked::One(booked) => Some(booked.uid),
                    Booked::Many(booked) => booked.into_iter().next().map(|booked| booked.uid),
                }
            });
        return match uid {
            Some(uid) if !uid.is_empty() => Outcome::accepted(uid),
            _ => answer.by_status(PROVIDER),
        };
    }
    let number = booking.payload.phone_number.as_deref().unwrap_or_default();
    refused(&answer, &[email, number, outgoing.credential.trimmed()])
}

fn body(outgoing: &Outgoing, booking: &Booking) -> Value {
    let Booking { settings, payload } = booking;
    let email = outgoing.to.address.as_str();
    let known = payload.name.as_deref().or(outgoing.to.name.as_deref());
    let name = known.unwrap_or_else(|| email.split('@').next().unwrap_or(email));
    let mut attendee = json!({ "name": name, "email": email, "timeZone": payload.time_zone });
    if let Some(language) = &settings.language {
        attendee["language"] = json!(language);
    }
    if let Some(number) = &payload.phone_number {
        attendee["phoneNumber"] = json!(number);
    }
    let mut body = json!({
        "start": payload.start,
        "eventTypeId": payload.event_type_id,
        "attendee": attendee,
        "metadata": { REFERENCE: outgoing.reference.to_string() },
    });
    let mut add = |name: &str, value: Value| {
        if let Some(body) = body.as_object_mut() {
            body.insert(name.to_owned(), value);
        }
    };
    if let Some(notes) = &payload.notes {
        add("bookingFieldsResponses", Value::Object(Map::from_iter([("notes".to_owned(), json!(notes))])));
    }
    if let Some(minutes) = payload.length_in_minutes {
        add("lengthInMinutes", json!(minutes));
    }
    body
}

fn refused(answer: &Answer, never: &[&str]) -> Outcome {
    let Some(Refusal { error }) = answer.json() else { return answer.by_status(PROVIDER) };
    let (code, message) = match error {
        RefusalError::Told { code, message } => {
            let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
            (code, message)
        }
        RefusalError::Text(message) => (String::new(), message),
    };
    let reason =
        format!("{PROVIDER} answered {} {}: {}", answer.status, said(&code, never), said(&message, never));
    let words = message.to_ascii_lowercase();
    // The only way to tell that nobody is free is what it says; it comes as 400, 409 or 500, and nothing was booked.
    let taken = [
        "already has booking",
        "not available",
        "no_available_users",
        "no available users",
        "already booked",
    ];
    if taken.iter().any(|phrase| words.contains(phrase)) {
        return Outcome::rejected(Code::Content, reason);
    }
    match answer.by_status(PROVIDER) {
        Outcome::Rejected { code: _, .. } if answer.status == 404 => Outcome::rejected(Code::Content, reason),
        Outcome::Rejected { code, .. } => Outcome::rejected(code, reason),
        Outcome::Retry { code, after, .. } => Outcome::retry_after(code, reason, after),
        Outcome::Unknown { .. } | Outcome::Accepted { .. } => Outcome::unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_lies_ahead_in_a_zone_that_exists() {
        let at: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        let payload = |start: &str, zone: &str| {
            Payload::read(&json!({ "eventTypeId": 7, "start": start, "timeZone": zone }), at)
        };
        let read = payload("2026-12-01T10:00:00+01:00", "Europe/Paris").unwrap();
        assert_eq!(read.start.to_string(), "2026-12-01T09:00:00.000Z");
        for (start, zone, code) in [
            ("2026-11-21T18:00:00Z", "Europe/Paris", "PAST"),
            ("tomorrow", "Europe/Paris", "INVALID_INSTANT"),
            ("2026-12-01T10:00:00Z", "Mars/Olympus", "UNKNOWN_TIME_ZONE"),
        ] {
            assert_eq!(payload(start, zone).unwrap_err()[0].code, code);
        }
    }

    #[test]
    fn nobody_comes_along_whom_no_list_was_asked_about() {
        let at: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        let with = |guests: Value| {
            let payload = json!({ "eventTypeId": 7, "start": "2026-12-01T10:00:00Z", "timeZone": "UTC", "guests": guests });
            Payload::read(&payload, at)
        };
        for guests in [json!(["bob@example.com"]), json!([]), json!("bob@example.com")] {
            let problems = with(guests).unwrap_err();
            let told: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), problem.code)).collect();
            assert_eq!(told, [("payload.guests", "NOT_A_RECIPIENT")]);
        }
        assert!(with(Value::Null).is_ok(), "null is missing");
    }
}
