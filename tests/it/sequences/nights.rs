//! Nights in which the clocks are changed: every step once, at its own time.

use serde_json::json;

use super::{Company, MINUTE, assert_each_step_once};

/// A night in steps of ten minutes, and when the steps must have been taken: at once, an hour later, and in a window that
/// the change of the clocks halves, shows twice or skips.
async fn night(evening: &str, window: (&str, &str), expected: [&str; 4]) {
    let company = Company::of(3).await;
    let mut nightly = company.rehearsal(0);
    nightly["window"] = json!({ "start": window.0, "end": window.1, "tz": "Europe/Paris" });
    let mut next_night = company.rehearsal(12 * 60);
    next_night["window"] = nightly["window"].clone();
    let steps = vec![company.rehearsal(0), company.rehearsal(60), nightly, next_night];
    let id = company.sequence(steps).await;
    company.until(evening).await;
    company.enroll(&id).await;
    company.rest().await;
    for _ in 0..(36 * 6) {
        company.pass(10 * MINUTE).await;
    }
    assert_each_step_once(&company.pool, 3, 4).await;
    for one in company.taken().await.chunks(4) {
        let times: Vec<&str> = one.iter().map(|(.., at)| at.as_str()).collect();
        assert_eq!(times, expected);
    }
    assert_eq!(company.counts(&id).await, (0, 0, 3));
}

#[tokio::test]
async fn a_night_that_is_an_hour_short() {
    // The clocks go from 02:00 to 03:00: half of the window is skipped, and it opens where they go on.
    let expected = [
        "2027-03-27T21:00:00.000Z",
        "2027-03-27T22:00:00.000Z",
        "2027-03-28T01:00:00.000Z",
        "2027-03-29T00:30:00.000Z",
    ];
    night("2027-03-27T21:00:00Z", ("02:30", "03:30"), expected).await;
}

#[tokio::test]
async fn a_night_that_is_an_hour_long() {
    // The clocks show the hour from 02:00 to 03:00 twice: the step is taken in the first of both.
    let expected = [
        "2027-10-30T20:00:00.000Z",
        "2027-10-30T21:00:00.000Z",
        "2027-10-31T00:30:00.000Z",
        "2027-11-01T01:30:00.000Z",
    ];
    night("2027-10-30T20:00:00Z", ("02:30", "02:50"), expected).await;
}
