//! What the board says of a message's words now.
//!
//! The labels of a draft are those of its piece and its outbox at that time. At the hand-over the piece may have been
//! changed or taken out of use, and the outbox have another niche: what a rule let go is held against what is said now.

use docket_aggregates::content_piece::ContentPiece;
use docket_aggregates::labels::Labels;
use docket_aggregates::message::Message;
use docket_aggregates::outbox::Outbox;

use super::content;

/// What rules look at now; none where the piece was taken out of use, or nothing of the words is known any more.
pub fn labels_now(message: &Message, outbox: &Outbox, piece: Option<&ContentPiece>) -> Option<Labels> {
    if message.content_piece_id().is_some() && !piece.is_some_and(ContentPiece::is_live) {
        return None;
    }
    let payload = serde_json::from_str(&message.content()?.payload).ok()?;
    let niche = outbox.settings().and_then(|settings| settings.niche.as_deref());
    Some(content::labels(message.channel()?, &payload, piece, niche))
}
