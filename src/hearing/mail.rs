//! Mail that comes in by LMTP: what it is was read by the channel, here it is recorded.
//!
//! A person's reply is recorded as one, a bounce and a complaint as theirs, with the address on the suppression list where
//! writing there again is pointless or unwanted. An automatic answer is taken and nothing more: it stops nothing. Mail that
//! is about nothing of ours is taken too: to refuse it would send an answer to strangers. While the ledger is away the
//! answer is "later", and the mail server keeps the mail.

use std::future::Future;

use docket_aggregates::channel::Channel;
use docket_aggregates::ids::MessageId;
use docket_aggregates::message::{Delivery, Message};
use docket_aggregates::suppression::SuppressionReason;
use tokio::net::TcpListener;

use super::webhooks::beginning;
use super::{HearError, News, Standing, notice_hash, record};
use crate::app::App;
use crate::channels::email::incoming::{Incoming, Kind};
use crate::channels::email::lmtp::{self, LmtpLimits, Verdict};
use crate::ledger::AppendError;
use crate::sending::Recipient;
use crate::service::{Call, ServiceError};

/// Takes mail in until `ending` is over.
pub async fn serve(app: App, listener: TcpListener, ending: impl Future<Output = ()>) {
    let take = move |incoming| {
        let app = app.clone();
        async move { take(&app, incoming).await }
    };
    lmtp::serve(listener, LmtpLimits::default(), take, ending).await;
}

/// Records what a mail says.
pub async fn take(app: &App, incoming: Incoming) -> Verdict {
    let Some(reference) = incoming.reference else { return counted("unmatched", Verdict::Kept) };
    let call = Call::of_system(app, reference.organization, "lmtp");
    let id = MessageId(reference.message);
    let channel = match app.ledger.load::<Message>(reference.organization, id).await {
        Ok(message) => message.state.channel(),
        Err(error) => {
            tracing::warn!(%error, "a mail could not be recorded");
            return counted("unavailable", Verdict::Later);
        }
    };
    if channel != Some(Channel::Email) {
        return counted("unknown", Verdict::Refused);
    }
    let (kind, delivery, suppress, detail) = match incoming.kind {
        Kind::Reply { text, stop } => {
            let wish = stop.then_some(SuppressionReason::Unsubscribe);
            ("reply", Delivery::Replied, wish, text.as_deref().map(beginning))
        }
        Kind::Bounce { permanent, status, code } => {
            let detail = format!("{}: {}", code.name(), status.as_deref().unwrap_or("without a status"));
            ("bounce", Delivery::Bounced, permanent.then_some(SuppressionReason::Bounce), Some(detail))
        }
        Kind::Complaint => ("complaint", Delivery::Complained, Some(SuppressionReason::Complaint), None),
        Kind::AutomaticReply => return counted("automatic_reply", Verdict::Kept),
        Kind::Other => return counted("other", Verdict::Kept),
    };
    // Whatever the message had come to before, and whichever one they answered: they wrote, and every sequence heeds that.
    let wrote = (delivery == Delivery::Replied).then_some(Channel::Email);
    // Who answers may be another one than whoever was written to: the mail was passed on, or goes to several people. A
    // complaint is written by a provider, and what a machine wrote does not come here.
    let from = incoming.from.as_deref().filter(|_| wrote.is_some());
    let written_from = from.and_then(|from| Recipient::read(Channel::Email, from).ok());
    let notice_hash = match incoming.message_id.as_deref().filter(|_| wrote.is_some()) {
        None => None,
        Some(message_id) => match app.ledger.keys().organization(reference.organization).await {
            Ok(keys) => Some(notice_hash(&keys, Channel::Email, message_id)),
            Err(error) => {
                tracing::warn!(%error, "a mail could not be recorded");
                return counted("unavailable", Verdict::Later);
            }
        },
    };
    let news = News {
        message: Some(id),
        standing: Standing::Became(delivery),
        detail,
        at: call.at,
        suppress,
        person: None,
        written_from,
        wrote,
        notice_hash,
    };
    match record(app, &call, &news).await {
        Ok(_) => counted(kind, Verdict::Kept),
        Err(ServiceError::Refused(HearError::UnknownMessage)) => counted("unknown", Verdict::Refused),
        Err(ServiceError::Append(AppendError::UnknownOrganization)) => counted("unknown", Verdict::Refused),
        // Coming again would not help it, and its writer is not to blame.
        Err(ServiceError::Append(error @ (AppendError::Unstorable(_) | AppendError::TooLarge { .. }))) => {
            tracing::error!(%error, "a mail can never be recorded");
            counted("unrecordable", Verdict::Kept)
        }
        Err(error) => {
            tracing::warn!(%error, "a mail could not be recorded");
            counted("unavailable", Verdict::Later)
        }
    }
}

fn counted(kind: &'static str, verdict: Verdict) -> Verdict {
    metrics::counter!("docket_mail_heard_total", "kind" => kind).increment(1);
    verdict
}
