//! What Cal.com tells: appointments made, moved and called off.

use docket_aggregates::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::REFERENCE;
use crate::channels::delivery::{About, bounded, if_readable, json};
use crate::channels::signature::check_hex;
use crate::channels::{Delivery, Happening, Secret, WebhookError};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    trigger_event: String,
    #[serde(default, deserialize_with = "if_readable")]
    created_at: Option<Timestamp>,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Booking {
    uid: String,
    #[serde(default, deserialize_with = "if_readable")]
    start_time: Option<Timestamp>,
    #[serde(default)]
    reschedule_uid: Option<String>,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
    #[serde(default)]
    attendees: Vec<Attendee>,
}

#[derive(Deserialize)]
struct Attendee {
    #[serde(default)]
    email: Option<String>,
}

/// Checks the signature over the raw body and reads what happened. A webhook without a secret is not signed, and is
/// refused.
pub fn read(headers: &HeaderMap, secret: &Secret, body: &[u8]) -> Result<Vec<Delivery>, WebhookError> {
    bounded(body)?;
    check_hex(headers, "x-cal-signature-256", "", secret, body)?;
    let webhook: Webhook = json(body)?;
    let event = webhook.trigger_event.as_str();
    if !matches!(
        event,
        "BOOKING_CREATED"
            | "BOOKING_REQUESTED"
            | "BOOKING_CONFIRMED"
            | "BOOKING_RESCHEDULED"
            | "BOOKING_CANCELLED"
            | "BOOKING_REJECTED"
    ) {
        return Ok(vec![]);
    }
    let booking: Booking = serde_json::from_value(webhook.payload).map_err(|_| WebhookError::Malformed)?;
    let (uid, start) = (booking.uid.clone(), booking.start_time);
    let happening = match event {
        "BOOKING_RESCHEDULED" => {
            Happening::Rescheduled { uid, previous_uid: booking.reschedule_uid.clone(), start }
        }
        "BOOKING_CANCELLED" => Happening::Cancelled { uid, declined: false },
        "BOOKING_REJECTED" => Happening::Cancelled { uid, declined: true },
        event => Happening::Booked { uid, start, confirmed: event != "BOOKING_REQUESTED" },
    };
    let reference =
        booking.metadata.as_ref().and_then(|metadata| metadata.get(REFERENCE)?.as_str()?.parse().ok());
    Ok(vec![Delivery {
        about: About {
            reference,
            // What we know a moved booking by is what it was called before.
            provider_message_id: booking.reschedule_uid.or(Some(booking.uid.clone())),
            person: booking.attendees.into_iter().next().and_then(|attendee| attendee.email),
            account: None,
        },
        at: webhook.created_at,
        notice: Some(format!("{}/{event}", booking.uid)),
        happening,
    }])
}
