//! Brand voice: whether a draft sounds as it should, before anybody reads it.
//!
//! What is the same text for the same checker is judged once: the verdict is kept beside the ledger, sealed, under a
//! keyed hash of the text, and the text itself is not kept. A hit never asks the checker. Of many that ask for
//! the same text at the same time, one asks the checker and the others get its answer, in this process and, by a
//! row that is held for as long as the checker is asked, in all others. What could not be judged is not kept.
//!
//! The rules of [`rules`] always apply. Where the operator connected a language model, it is asked as well; without
//! its answer there is no verdict then.

mod cache;
mod model;
pub mod rules;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use self::cache::{Kept, Place, Turn};
use crate::app::App;
use crate::language_model::LanguageModelError;
use crate::ledger::KeyError;
use crate::shapes::Instant;

/// Bytes of a draft, at most.
pub const DRAFT_BYTES_MAX: usize = 64 * 1024;
/// Issues that are told, at most; more change nothing.
pub const ISSUES_MAX: usize = 100;
/// Texts that one process has judged at once, at most.
const AT_ONCE: usize = 32;
/// How long whoever asks waits for a verdict.
const WITHIN: Duration = Duration::from_secs(50);
/// How often it is looked whether another process has its verdict.
const LOOK: Duration = Duration::from_millis(50);

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not to be sent like this.
    Error,
    /// To be looked at.
    Warning,
    /// To be known.
    Info,
}

/// Something about a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issue {
    /// A name for machines.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for people.
    pub message: String,
    /// Where it begins, in UTF-16 code units of the draft in Unicode's form NFC: what JavaScript's `slice` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// Where it ends, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
}

/// What the issues come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may go out like this.
    Pass,
    /// It should be looked at.
    Warn,
    /// It should not go out like this.
    Fail,
}

impl Verdict {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// What the issues come to.
    pub verdict: Verdict,
    /// 0 to 100.
    pub score: u8,
    /// What there is to say, in the order of the draft.
    pub issues: Vec<Issue>,
}

impl Assessment {
    /// Weighs issues: an error takes 40 points of 100, a warning 10, an information 2, each code three times at most.
    /// With an error, or below 50 points, a draft fails; with a warning it is to be looked at.
    pub fn of(mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| (issue.start.unwrap_or(0), issue.end));
        let (mut lost, mut counted) = (0_u32, HashMap::new());
        for issue in &issues {
            let times: &mut u32 = counted.entry(issue.code.as_str()).or_default();
            *times += 1;
            if *times <= 3 {
                lost += match issue.severity {
                    Severity::Error => 40,
                    Severity::Warning => 10,
                    Severity::Info => 2,
                };
            }
        }
        let score = u8::try_from(100_u32.saturating_sub(lost)).unwrap_or(0);
        let has = |severity| issues.iter().any(|issue| issue.severity == severity);
        let verdict = if has(Severity::Error) || score < 50 {
            Verdict::Fail
        } else if has(Severity::Warning) {
            Verdict::Warn
        } else {
            Verdict::Pass
        };
        issues.truncate(ISSUES_MAX);
        Self { verdict, score, issues }
    }
}

/// A verdict as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrandVoiceView {
    /// SHA-256 of the draft, in lower case.
    pub content_sha256: String,
    /// Whether the checker was not asked for this answer.
    pub cached: bool,
    /// What the issues come to.
    pub verdict: Verdict,
    /// 0 to 100.
    pub score: u8,
    /// What there is to say, in the order of the draft.
    pub issues: Vec<Issue>,
    /// Which checker judged, in which version.
    pub checker_version: String,
    /// When it did.
    #[schemars(with = "Instant")]
    pub checked_at: Timestamp,
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrandVoiceError {
    /// The hash is another text's.
    #[error("contentSha256 is not the SHA-256 of the draft's UTF-8 bytes")]
    OtherContent,
    /// The checker gave no usable answer.
    #[error("the checker is not available: {0}")]
    Checker(#[from] LanguageModelError),
    /// The checker's answer is not in the form that was asked for.
    #[error("the checker is not available: its answer has not the form that was asked for")]
    Unfit,
    /// As many texts are judged as may be.
    #[error("too many drafts are being checked")]
    Busy,
    /// Nobody had a verdict in time.
    #[error("the checker did not answer in time")]
    TooSlow,
    /// The verdicts that are kept cannot be read.
    #[error("the verdicts cannot be read")]
    Unavailable,
}

impl From<sqlx::Error> for BrandVoiceError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(
            sqlstate = ?error.as_database_error().map(|error| error.code()),
            "the verdicts on drafts cannot be read"
        );
        Self::Unavailable
    }
}

impl From<KeyError> for BrandVoiceError {
    fn from(error: KeyError) -> Self {
        tracing::warn!(error = %error, "the verdicts on drafts cannot be opened");
        Self::Unavailable
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody who wrote a draft.
    Author,
    /// Docket itself, after the text went out.
    Hook,
}

/// A verdict, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What was found.
    pub assessment: Arc<Assessment>,
    /// Which checker found it.
    pub checker_version: String,
    /// When.
    pub checked_at: Timestamp,
    /// When an author first asked, if one had before this call.
    pub asked_at: Option<Timestamp>,
    /// Whether the checker was not asked for this answer.
    pub cached: bool,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Kept>, BrandVoiceError>>>;

/// The checks that this process makes at the moment. Cheap to clone.
#[derive(Clone)]
pub struct BrandVoice {
    flights: Arc<Mutex<HashMap<Place, Flight>>>,
    at_once: Arc<Semaphore>,
}

impl Default for BrandVoice {
    fn default() -> Self {
        Self { flights: Arc::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// Which checker judges now: the rules alone, or a model beside them. What is kept of another one means nothing.
pub fn checker_version(app: &App) -> String {
    match &app.model {
        None => rules::VERSION.to_owned(),
        Some(model) => {
            let name: String = model.name().chars().take(100).collect();
            format!("{}+{}:{name}", rules::VERSION, model::VERSION)
        }
    }
}

/// Judges a draft whose hash the caller says, or tells the verdict that there is.
pub async fn check(
    app: &App,
    organization: OrganizationId,
    content_sha256: &str,
    draft: &str,
) -> Result<BrandVoiceView, BrandVoiceError> {
    // Otherwise a harmless draft could be handed in under the hash of a bad one, whose verdict it then became.
    if hex::encode(Sha256::digest(draft.as_bytes())) != content_sha256 {
        return Err(BrandVoiceError::OtherContent);
    }
    let checked = judge(app, organization, draft, Asker::Author).await?;
    Ok(BrandVoiceView {
        content_sha256: content_sha256.to_owned(),
        cached: checked.cached,
        verdict: checked.assessment.verdict,
        score: checked.assessment.score,
        issues: checked.assessment.issues.clone(),
        checker_version: checked.checker_version,
        checked_at: checked.checked_at,
    })
}

/// Judges a text, or tells the verdict that there is.
pub async fn judge(
    app: &App,
    organization: OrganizationId,
    text: &str,
    asker: Asker,
) -> Result<Checked, BrandVoiceError> {
    // Whatever is sent is in NFC; a draft in another form is the same text.
    let text: String = text.nfc().collect();
    let checker_version = checker_version(app);
    let keys = app.ledger.keys().organization(organization).await?;
    let place = Place::of(organization, &keys, &checker_version, &text);
    let now = app.clock.now();
    if let Some(kept) = cache::find(app.ledger.pool(), &keys, &place, now).await? {
        metrics::counter!("docket_brand_voice_checks_total", "outcome" => "hit").increment(1);
        if asker == Asker::Author && kept.asked_at.is_none() {
            cache::asked(app.ledger.pool(), &place, now).await?;
        }
        return Ok(kept.told(checker_version, true));
    }
    let (flight, began) = app.brand_voice.join(&place, || work(app.clone(), place.clone(), text, asker));
    let kept = match tokio::time::timeout(WITHIN, flight).await {
        Ok(landed) => landed?,
        Err(_) => return Err(BrandVoiceError::TooSlow),
    };
    Ok(kept.told(checker_version, !began || kept.of_another))
}

impl BrandVoice {
    /// How many callers wait for the checks that are under way.
    pub fn waiting(&self) -> usize {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // One copy of each is the list's own.
        flights.values().filter_map(Shared::strong_count).map(|copies| copies.saturating_sub(1)).sum()
    }

    /// The check of this text that is under way, or a new one; and whether it is new.
    fn join<F>(&self, place: &Place, begin: impl FnOnce() -> F) -> (Flight, bool)
    where
        F: Future<Output = Result<Kept, BrandVoiceError>> + Send + 'static,
    {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(place) {
            return (flight.clone(), false);
        }
        // In a task of its own: whoever asked first may go away, and the others still wait.
        let (work, turns) = (begin(), self.at_once.clone());
        let landing = Landing { flights: self.flights.clone(), place: place.clone() };
        let task = tokio::spawn(async move {
            let _landing = landing;
            let Ok(_turn) = turns.try_acquire() else { return Err(BrandVoiceError::Busy) };
            match tokio::time::timeout(WITHIN, work).await {
                Ok(landed) => landed.map(Arc::new),
                Err(_) => Err(BrandVoiceError::TooSlow),
            }
        });
        let flight: Flight =
            async move { task.await.unwrap_or(Err(BrandVoiceError::Unavailable)) }.boxed().shared();
        flights.insert(place.clone(), flight.clone());
        (flight, true)
    }
}

/// Takes a check off the list when it ends, however it ends.
struct Landing {
    flights: Arc<Mutex<HashMap<Place, Flight>>>,
    place: Place,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

/// Waits for this process's turn, has the text judged and keeps the verdict; or finds that another process did.
async fn work(app: App, place: Place, text: String, asker: Asker) -> Result<Kept, BrandVoiceError> {
    let pool = app.ledger.pool();
    let keys = app.ledger.keys().organization(place.organization).await?;
    let holder = loop {
        match cache::take_turn(pool, &keys, &place, &app.clock).await? {
            Turn::Mine(holder) => break holder,
            Turn::Judged(kept) => return Ok(Kept { of_another: true, ..*kept }),
            Turn::Others => tokio::time::sleep(LOOK).await,
        }
    };
    let judged = tokio::select! {
        judged = assess(&app, &text) => judged,
        never = cache::renew(pool, &place, holder) => match never {},
    };
    let outcome = if judged.is_ok() { "asked" } else { "failed" };
    metrics::counter!("docket_brand_voice_checks_total", "outcome" => outcome).increment(1);
    let assessment = match judged {
        Ok(assessment) => Arc::new(assessment),
        Err(error) => {
            cache::let_go(pool, &place, holder).await;
            return Err(error);
        }
    };
    let checked_at = app.clock.now();
    let asked_at = (asker == Asker::Author).then_some(checked_at);
    if let Err(error) = cache::keep(pool, &keys, &place, holder, &assessment, checked_at, asked_at).await {
        // There is a verdict all the same; the next one who asks costs another call.
        tracing::warn!(error = %BrandVoiceError::from(error), "a verdict on a draft was not kept");
    }
    Ok(Kept { assessment, checked_at, asked_at: None, of_another: false })
}

async fn assess(app: &App, text: &str) -> Result<Assessment, BrandVoiceError> {
    let mut issues = rules::issues(text);
    if let Some(model) = &app.model
        && !text.trim().is_empty()
    {
        issues.extend(model::issues(model, text).await?);
    }
    Ok(Assessment::of(issues))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(code: &str, severity: Severity) -> Issue {
        Issue { code: code.into(), severity, message: "x".into(), start: None, end: None }
    }

    #[test]
    fn issues_are_weighed_by_their_severity_and_each_code_three_times_at_most() {
        use Severity::{Error, Info, Warning};
        for (issues, verdict, score) in [
            (vec![], Verdict::Pass, 100),
            (vec![("a", Info)], Verdict::Pass, 98),
            (vec![("a", Info); 50], Verdict::Pass, 94),
            (vec![("a", Warning)], Verdict::Warn, 90),
            (vec![("a", Warning); 9], Verdict::Warn, 70),
            (vec![("a", Warning), ("b", Warning), ("a", Warning), ("b", Warning)], Verdict::Warn, 60),
            (vec![("a", Error)], Verdict::Fail, 60),
            (vec![("a", Error); 3], Verdict::Fail, 0),
            (vec![("a", Error), ("b", Warning)], Verdict::Fail, 50),
            ([[("a", Warning); 3], [("b", Warning); 3]].concat(), Verdict::Fail, 40),
        ] {
            let issues = issues.into_iter().map(|(code, severity)| issue(code, severity)).collect();
            let assessed = Assessment::of(issues);
            assert_eq!((assessed.verdict, assessed.score), (verdict, score), "{assessed:?}");
        }
        assert_eq!(Assessment::of(vec![issue("a", Info); 1_000]).issues.len(), ISSUES_MAX);
    }
}
