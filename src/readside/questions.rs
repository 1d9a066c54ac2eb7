//! Small questions that are asked together.
//!
//! A strong view waits for the end of a fold, and takes five round trips around what is asked in it. For one small
//! statement that is nearly all of the cost; so callers who ask such questions of the same organization at the same time
//! are given one view, and one statement in it for each kind of question.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_projections::campaign_counters::{self, Totals};
use docket_projections::campaigns;
use docket_projections::unfinished::{self, Unfinished};
use sqlx::PgConnection;
use tokio::sync::oneshot;

use super::desk::{Desk, Reading};
use super::{Consistency, ReadSide, ReadSideError, View};

/// What is found, and the position that it reflects at least.
type Found<T> = Result<(T, i64), ReadSideError>;
type Answer<T> = oneshot::Sender<Found<T>>;

/// What is asked.
pub(super) enum Question {
    /// Which campaigns have a name.
    Named(String, Answer<Vec<CampaignId>>),
    /// What is still to do on a campaign.
    Unfinished(CampaignId, Timestamp, Answer<Unfinished>),
    /// How many contacts a campaign has.
    Totals(CampaignId, Answer<Totals>),
}

/// Where questions are asked.
#[derive(Clone, Default)]
pub(super) struct Questions {
    desk: Desk<Question>,
}

impl Questions {
    /// The answer to the question that `question` makes of the way to give it.
    pub async fn ask<T>(
        &self,
        readside: &ReadSide,
        organization: OrganizationId,
        question: impl FnOnce(Answer<T>) -> Question,
    ) -> Found<T> {
        let (answer, answered) = oneshot::channel();
        if let Some(reading) = self.desk.line_up(organization, vec![question(answer)]) {
            tokio::spawn(read(readside.clone(), organization, reading));
        }
        match tokio::time::timeout(readside.shared_within(), answered).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(ReadSideError::Unavailable),
        }
    }
}

/// Answers until nobody asks.
async fn read(readside: ReadSide, organization: OrganizationId, mut reading: Reading<Question>) {
    while let Some(turn) = reading.next() {
        let (mut names, mut endings, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for question in turn {
            match question {
                Question::Named(name, answer) => names.push((name, answer)),
                Question::Unfinished(campaign, now, answer) => endings.push(((campaign, now), answer)),
                Question::Totals(campaign, answer) => counts.push((campaign, answer)),
            }
        }
        let mut at = At { readside: &readside, organization, view: None };
        at.tell(names, async |view, names: &[String]| campaigns::with_names(view, organization, names).await)
            .await;
        at.tell(endings, async |view, campaigns: &[(CampaignId, Timestamp)]| {
            unfinished::of_campaigns(view, organization, campaigns).await
        })
        .await;
        at.tell(counts, async |view, campaigns: &[CampaignId]| {
            campaign_counters::totals(view, organization, campaigns).await
        })
        .await;
    }
}

/// Where a turn's questions are asked: one view for all of them, opened with the first.
struct At<'a> {
    readside: &'a ReadSide,
    organization: OrganizationId,
    view: Option<View>,
}

impl At<'_> {
    /// Asks about all of one kind in one statement, whose answers are in the order of what was asked. If it fails, the view
    /// is gone with it, and the next kind has a new one.
    async fn tell<Q, T>(
        &mut self,
        asked: Vec<(Q, Answer<T>)>,
        statement: impl AsyncFnOnce(&mut PgConnection, &[Q]) -> sqlx::Result<Vec<T>>,
    ) {
        if asked.is_empty() {
            return;
        }
        let (asked, answers): (Vec<Q>, Vec<Answer<T>>) = asked.into_iter().unzip();
        let found = async {
            let mut view = match self.view.take() {
                Some(view) => view,
                None => self.readside.view(self.organization, Consistency::STRONG).await?,
            };
            let found = statement(&mut view, &asked).await?;
            let position = view.position;
            self.view = Some(view);
            Ok((found, position))
        };
        // Whoever has gone away needs no answer.
        match found.await {
            Ok((found, position)) => {
                for (found, answer) in found.into_iter().zip(answers) {
                    let _ = answer.send(Ok((found, position)));
                }
            }
            Err(error) => {
                for answer in answers {
                    let _ = answer.send(Err(ReadSideError::clone(&error)));
                }
            }
        }
    }
}
