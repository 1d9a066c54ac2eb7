//! Small questions that share a view.
//!
//! Around what is asked in it, a strong view takes six round trips and the end of a fold. For one or two small
//! statements that is most of the cost; so callers who ask such questions of the same organization at the same time are
//! given one view, one after the other.

use std::future::Future;
use std::pin::Pin;

use docket_aggregates::ids::OrganizationId;
use tokio::sync::oneshot;

use super::desk::{Desk, Reading};
use super::{Consistency, ReadSide, ReadSideError, View};

/// What a question does in a view.
pub type Asking<'v, T> = Pin<Box<dyn Future<Output = sqlx::Result<T>> + Send + 'v>>;

/// Tells its caller, and says whether the view can be asked on.
type Question = Box<
    dyn for<'v> FnOnce(Result<&'v mut View, ReadSideError>) -> Pin<Box<dyn Future<Output = bool> + Send + 'v>>
        + Send,
>;

/// Where questions are asked.
#[derive(Clone, Default)]
pub(super) struct Questions {
    desk: Desk<Question>,
}

impl Questions {
    /// What `question` finds in a strong view, and that view's position.
    pub async fn ask<T: Send + 'static>(
        &self,
        readside: &ReadSide,
        organization: OrganizationId,
        question: impl for<'v> FnOnce(&'v mut View) -> Asking<'v, T> + Send + 'static,
    ) -> Result<(T, i64), ReadSideError> {
        let (answer, answered) = oneshot::channel();
        let asked: Question = Box::new(move |view| {
            Box::pin(async move {
                let found = match view {
                    Ok(view) => {
                        let position = view.position;
                        question(view).await.map(|found| (found, position)).map_err(ReadSideError::from)
                    }
                    Err(error) => Err(error),
                };
                let usable = found.is_ok();
                // Whoever has gone away needs no answer.
                let _ = answer.send(found);
                usable
            })
        });
        if let Some(reading) = self.desk.line_up(organization, vec![asked]) {
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
        let mut turn = turn.into_iter();
        // A question that fails takes its view with it, and no other question.
        while turn.len() > 0 {
            match readside.view(organization, Consistency::STRONG).await {
                Ok(mut view) => {
                    for question in turn.by_ref() {
                        if !question(Ok(&mut view)).await {
                            break;
                        }
                    }
                }
                Err(error) => {
                    for question in turn.by_ref() {
                        question(Err(error.clone())).await;
                    }
                }
            }
        }
    }
}
