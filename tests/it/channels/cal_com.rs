//! Cal.com: what is booked, and what each answer means.

use docket::channels::Outcome;
use docket_aggregates::channel::Channel;
use serde_json::{Value, json};

use super::provider::{Act, Provider};
use super::{CANARY, REFERENCE, assert_discreet, channels, now, outgoing, told};

const TO: &str = "ada.lovelace@example.org";

fn payload() -> Value {
    json!({
        "eventTypeId": 42, "start": "2026-12-01T10:00:00+01:00", "timeZone": "Europe/Paris", "notes": "By phone",
    })
}

fn booked(uid: &str) -> Value {
    json!({
        "id": 123, "uid": uid, "title": "Call", "status": "accepted", "start": "2026-12-01T09:00:00.000Z",
        "end": "2026-12-01T09:30:00.000Z", "duration": 30, "hosts": [], "attendees": [],
    })
}

#[tokio::test]
async fn a_booking_names_the_version_and_carries_the_reference() {
    let provider =
        Provider::start([Act::answer(201, json!({ "status": "success", "data": booked("bk_1") }))]).await;
    let mut message = outgoing(Channel::CalCom, TO, &json!({ "language": "fr" }), &payload());
    message.to.name = Some("Ada Lovelace".into());
    assert_eq!(told(&channels(&provider.base).deliver(&message).await), "accepted bk_1");
    let request = provider.only();
    assert_eq!(request.line, "POST /v2/bookings HTTP/1.1");
    assert_eq!(request.header("cal-api-version"), Some("2024-08-13"));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(
        request.json(),
        json!({
            "start": "2026-12-01T09:00:00.000Z", "eventTypeId": 42,
            "attendee": { "name": "Ada Lovelace", "email": TO, "timeZone": "Europe/Paris", "language": "fr" },
            "metadata": { "docketReference": REFERENCE }, "bookingFieldsResponses": { "notes": "By phone" },
        })
    );
}

#[tokio::test]
async fn an_event_that_recurs_is_booked_under_its_first_id() {
    let data = json!({ "status": "success", "data": [booked("bk_1"), booked("bk_2")] });
    let provider = Provider::start([Act::answer(201, data)]).await;
    let message = outgoing(Channel::CalCom, TO, &json!({}), &payload());
    assert_eq!(told(&channels(&provider.base).deliver(&message).await), "accepted bk_1");
    assert_eq!(provider.only().json()["attendee"]["name"], "ada.lovelace", "somebody without a name has one");
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    let error = |code: &str, message: Value| {
        json!({
            "status": "error", "timestamp": "2026-11-21T18:00:00.000Z", "path": "/v2/bookings",
            "error": { "code": code, "message": message },
        })
    };
    let taken = "User either already has booking at this time or is not available";
    for (status, headers, body, expected) in [
        (400, "", error("BadRequestException", json!(taken)), "rejected content"),
        (409, "", error("ConflictException", json!("no_available_users_found_error")), "rejected content"),
        (500, "", error("InternalServerError", json!("no_available_users_found_error")), "rejected content"),
        (400, "", error("BAD_REQUEST", json!({ "errors": [format!("{TO} {CANARY}")] })), "rejected content"),
        (400, "", json!({ "status": "error", "error": "attendee is missing" }), "rejected content"),
        (401, "", error("UnauthorizedException", json!("Invalid API Key")), "rejected credential"),
        (403, "", error("ForbiddenException", json!("no")), "rejected credential"),
        (404, "", error("NotFoundException", json!("Event type with id 42 not found")), "rejected content"),
        (422, "", error("UnprocessableEntity", json!("no")), "rejected content"),
        (429, "retry-after: 60\r\n", error("TooManyRequests", json!("slow down")), "retry rate_limited 60"),
        (500, "", error("InternalServerError", json!("Internal server error")), "unknown"),
        (503, "retry-after: 5\r\n", json!({}), "unknown"),
        (201, "", json!({ "status": "error", "data": booked("bk_1") }), "unknown"),
        (201, "", json!({ "status": "success", "data": [] }), "unknown"),
    ] {
        let provider = Provider::start([Act::with_headers(status, headers, &body)]).await;
        let message = outgoing(Channel::CalCom, TO, &json!({}), &payload());
        let outcome = channels(&provider.base).deliver(&message).await;
        assert_eq!(told(&outcome), expected, "{status} {body}");
        assert_discreet(&outcome, TO);
    }
}

#[tokio::test]
async fn no_reason_tells_the_attendees_number() {
    for repeated in ["+33 6 12 34 56 78", "+33612345678", "'+33 612 345 678'", "06.12.34.56.78"] {
        let message = format!("{repeated} is no number of a telephone");
        let body = json!({ "status": "error", "error": { "code": "BAD_REQUEST", "message": message } });
        let provider = Provider::start([Act::answer(400, body)]).await;
        let mut payload = payload();
        payload["phoneNumber"] = json!("+33 6 12 34 56 78");
        let outcome =
            channels(&provider.base).deliver(&outgoing(Channel::CalCom, TO, &json!({}), &payload)).await;
        let Outcome::Rejected { reason, .. } = outcome else { panic!("{repeated}: {outcome:?}") };
        assert_eq!(reason, "Cal.com answered 400 BAD_REQUEST: … is no number of a telephone", "{repeated}");
        assert_eq!(provider.only().json()["attendee"]["phoneNumber"], payload["phoneNumber"]);
    }
}

#[tokio::test]
async fn what_has_begun_is_not_booked_any_more() {
    let provider = Provider::start([]).await;
    let channels = channels(&provider.base);
    let mut message = outgoing(Channel::CalCom, TO, &json!({}), &payload());
    message.at = now().plus_millis(30 * 86_400_000);
    assert_eq!(told(&channels.deliver(&message).await), "rejected content");
    message.at = now();
    message.to.address = "+33612345678".into();
    assert_eq!(told(&channels.deliver(&message).await), "rejected recipient");
    assert!(provider.taken().is_empty());
}
