//! `brand-voice-coverage`: had the text been checked before it was issued, and how does it fare?
//!
//! The hook looks for the verdict that the author's own check left behind. If there is one from before the message went
//! out, the message was covered. If not, the text is judged now, so that it is known all the same. It looks at the body
//! of the message as it went out, character by character: whoever wants it covered checks exactly that text.

use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{MessageId, OrganizationId};
use docket_aggregates::message::{Message, MessageContent, MessageEvent};
use docket_aggregates::{AnyEvent, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use crate::app::App;
use crate::brand_voice::{self, Asker, BrandVoiceError, DRAFT_BYTES_MAX, Verdict};
use crate::ledger::Stream;
use crate::ledger::instant::Instant;
use crate::ledger::read::{self, ReadError};
use crate::shapes;

/// Messages that the answer names, at most.
const NAMED_MAX: i64 = 100;

/// How a message stands to the brand voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its text had been checked before it went out.
    Covered,
    /// It had not.
    Uncovered,
    /// It has no text of its own, or none that is still known.
    NotApplicable,
}

/// What the hook found out about a message. No word of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// How the message stands.
    pub coverage: Standing,
    /// What the issues of its text come to.
    pub verdict: Option<Verdict>,
    /// 0 to 100.
    pub score: Option<u8>,
    /// Which checker judged.
    pub checker_version: Option<String>,
}

/// Why nothing was found out yet.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// The message cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no verdict.
    #[error(transparent)]
    BrandVoice(#[from] BrandVoiceError),
}

/// Looks at a message that was issued at `issued_at`; none if it is of another channel than those that are wanted.
pub async fn look(
    app: &App,
    organization: OrganizationId,
    message_id: MessageId,
    issued_at: Timestamp,
    channels: &[Channel],
) -> Result<Option<Found>, CoverageError> {
    let Some((channel, content)) = issued(app, organization, message_id).await? else { return Ok(None) };
    if !channels.is_empty() && !channels.contains(&channel) {
        return Ok(None);
    }
    let text = content.and_then(|content| text_of(channel, &content));
    let Some(text) = text else {
        let coverage = Standing::NotApplicable;
        return Ok(Some(Found { coverage, verdict: None, score: None, checker_version: None }));
    };
    let checked = brand_voice::judge(app, organization, &text, Asker::Hook).await?;
    let before = checked.asked_at.is_some_and(|asked_at| asked_at <= issued_at);
    Ok(Some(Found {
        coverage: if before { Standing::Covered } else { Standing::Uncovered },
        verdict: Some(checked.assessment.verdict),
        score: Some(checked.assessment.score),
        checker_version: Some(checked.checker_version),
    }))
}

/// The channel of a message, and what was last to be sent: what is sent cannot be revised. The message's own state lets
/// go of it once it is final.
async fn issued(
    app: &App,
    organization: OrganizationId,
    message_id: MessageId,
) -> Result<Option<(Channel, Option<MessageContent>)>, ReadError> {
    let stream = Stream::of::<Message>(message_id);
    let mut events = read::stream(app.ledger.pool(), organization, stream, 0).await?;
    read::open(app.ledger.keys(), organization, &mut events).await?;
    let (mut of, mut last) = (None, None);
    for event in events {
        match read::recorded(organization, event)?.event {
            AnyEvent::Message(MessageEvent::MessageDrafted { channel, content, .. }) => {
                of = Some(channel);
                last = content.into_value();
            }
            AnyEvent::Message(MessageEvent::MessageRevised { content, .. }) => last = content.into_value(),
            _ => (),
        }
    }
    Ok(of.map(|channel| (channel, last)))
}

/// The words of a message, as its payload holds them.
fn text_of(channel: Channel, content: &MessageContent) -> Option<String> {
    let payload: Value = serde_json::from_str(&content.payload).ok()?;
    let names: &[&str] = match channel {
        Channel::Email | Channel::DryRun => &["text", "html"],
        Channel::Linkedin | Channel::Whatsapp | Channel::Instagram => &["text"],
        Channel::CalCom => &["notes"],
    };
    let text = names.iter().find_map(|name| payload.get(name)?.as_str())?;
    (!text.trim().is_empty() && text.len() <= DRAFT_BYTES_MAX).then(|| text.to_owned())
}

/// How many messages stand how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoverageView {
    /// Messages that the hook has looked at.
    pub messages: i64,
    /// Those whose text had been checked before they went out.
    pub covered: i64,
    /// Those whose text had not.
    pub uncovered: i64,
    /// Those without a text of their own.
    pub not_applicable: i64,
    /// Those that wait to be looked at.
    pub waiting: i64,
    /// Those that could not be looked at in the end.
    pub failed: i64,
    /// What the texts come to.
    pub verdicts: VerdictsView,
    /// The last ones that were not covered or did not pass, the newest first; 100 at most.
    pub conspicuous: Vec<ConspicuousView>,
}

/// How many texts come to what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerdictsView {
    /// May go out like this.
    pub pass: i64,
    /// Should be looked at.
    pub warn: i64,
    /// Should not go out like this.
    pub fail: i64,
}

/// A message to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConspicuousView {
    /// Which one.
    #[schemars(with = "Uuid")]
    pub activity_id: MessageId,
    /// Whether its text had been checked.
    pub coverage: Standing,
    /// What its issues come to.
    pub verdict: Option<Verdict>,
    /// 0 to 100.
    pub score: Option<u8>,
    /// When it went out.
    #[schemars(with = "shapes::Instant")]
    pub issued_at: Timestamp,
}

/// How the messages that went out since an instant stand. Each message counts once, however many hooks looked at it.
pub async fn summary(
    app: &App,
    organization: OrganizationId,
    since: Timestamp,
) -> Result<CoverageView, sqlx::Error> {
    const EACH: &str = "WITH each AS (SELECT DISTINCT ON (message_id) message_id, occurred_at, state, \
             result->>'coverage' AS coverage, result->>'verdict' AS verdict, (result->>'score')::int AS score \
         FROM ledger.hook_runs \
         WHERE organization_id = $1 AND occurred_at >= $2 AND state <> 'skipped' \
         ORDER BY message_id, finished_at DESC NULLS LAST)";
    let counts = sqlx::query(&format!(
        "{EACH} SELECT count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE coverage = 'covered'), \
             count(*) FILTER (WHERE coverage = 'uncovered'), count(*) FILTER (WHERE coverage = 'not_applicable'), \
             count(*) FILTER (WHERE state = 'due'), count(*) FILTER (WHERE state = 'failed'), \
             count(*) FILTER (WHERE verdict = 'pass'), count(*) FILTER (WHERE verdict = 'warn'), \
             count(*) FILTER (WHERE verdict = 'fail') FROM each"
    ))
    .bind(organization.uuid())
    .bind(Instant(since))
    .fetch_one(app.ledger.pool())
    .await?;
    let rows = sqlx::query(&format!(
        "{EACH} SELECT message_id, coverage, verdict, score, occurred_at FROM each \
         WHERE coverage = 'uncovered' OR verdict IN ('warn', 'fail') \
         ORDER BY occurred_at DESC, message_id DESC LIMIT $3"
    ))
    .bind(organization.uuid())
    .bind(Instant(since))
    .bind(NAMED_MAX)
    .fetch_all(app.ledger.pool())
    .await?;
    let conspicuous = rows.iter().map(|row| {
        let name = |index| row.try_get::<Option<String>, _>(index);
        let score: Option<i32> = row.try_get(3)?;
        Ok(ConspicuousView {
            activity_id: MessageId(row.try_get(0)?),
            coverage: named(name(1)?).unwrap_or(Standing::NotApplicable),
            verdict: named(name(2)?),
            score: score.and_then(|score| u8::try_from(score).ok()),
            issued_at: row.try_get::<Instant, _>(4)?.0,
        })
    });
    Ok(CoverageView {
        messages: counts.try_get(0)?,
        covered: counts.try_get(1)?,
        uncovered: counts.try_get(2)?,
        not_applicable: counts.try_get(3)?,
        waiting: counts.try_get(4)?,
        failed: counts.try_get(5)?,
        verdicts: VerdictsView {
            pass: counts.try_get(6)?,
            warn: counts.try_get(7)?,
            fail: counts.try_get(8)?,
        },
        conspicuous: conspicuous.collect::<Result<_, sqlx::Error>>()?,
    })
}

/// The value of a stored name.
fn named<T: serde::de::DeserializeOwned>(name: Option<String>) -> Option<T> {
    serde_json::from_value(Value::String(name?)).ok()
}
