//! A content piece: words that the board vouches for, by where they stand and by their hash.
//!
//! Labels decide whether a message goes out without a person, so nobody may label their own words: a message takes the
//! niche and tags of a piece only if its text hashes to the `textSha256` that the board set, and its subject, where it has
//! one, is the title that the board gave. The source's hash is another: it is of the file, with its frontmatter. One path
//! is one living piece; a deleted one gives its path free.

mod event;
mod path;

use serde::{Deserialize, Serialize};

pub use event::{ContentPieceEvent, PieceText};
pub use path::{ContentPath, PathError};

use crate::channel::Channel;
use crate::ids::ContentPieceId;
use crate::labels::{self, LabelError, Labels};
use crate::personal::Personal;
use crate::stored::aggregate;

/// Bytes of a title, at most.
pub const TITLE_BYTES_MAX: usize = 512;
/// Bytes of a summary, at most.
pub const SUMMARY_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a frontmatter, at most.
pub const FRONTMATTER_BYTES_MAX: usize = 64 * 1024;

/// What a change may say; absent keeps, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct ContentPiecePatch {
    /// New title.
    pub title: Option<String>,
    /// New summary.
    pub summary: Option<Option<String>>,
    /// New path, and the keyed hash of it.
    pub source_path: Option<(ContentPath, String)>,
    /// New hash of the file.
    pub source_sha256: Option<String>,
    /// New hash of the text.
    pub text_sha256: Option<Option<String>>,
    /// New tags.
    pub tags: Option<Vec<String>>,
    /// New channel.
    pub channel_intent: Option<Option<Channel>>,
    /// New niche.
    pub niche: Option<Option<String>>,
    /// New frontmatter.
    pub frontmatter: Option<Option<String>>,
}

/// Orders to a content piece.
#[derive(Clone, Debug)]
pub enum ContentPieceCommand {
    /// Take it in.
    Add {
        /// A fresh id.
        piece_id: ContentPieceId,
        /// What is said of it; its path parsed.
        text: PieceText,
        /// SHA-256 of the file, 64 lower-case hexadecimal digits.
        source_sha256: String,
        /// SHA-256 of the text that the board vouches for, likewise.
        text_sha256: Option<String>,
        /// Keyed hash of the path.
        path_key: String,
    },
    /// Change what the patch says.
    Change(Box<ContentPiecePatch>),
    /// Take it out of use, for good.
    Delete,
}

/// Why a content piece refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentPieceError {
    /// The stream is empty, or it was deleted.
    #[error("content piece does not exist")]
    Unknown,
    /// The id is taken.
    #[error("content piece already exists")]
    AlreadyAdded,
    /// Its text was erased, so that it cannot be changed.
    #[error("content piece was erased")]
    Erased,
    /// The title is empty or too long.
    #[error("title must have 1 to {TITLE_BYTES_MAX} bytes")]
    Title,
    /// The summary is too long.
    #[error("summary must have at most {SUMMARY_BYTES_MAX} bytes")]
    Summary,
    /// The frontmatter is too long.
    #[error("frontmatter must have at most {FRONTMATTER_BYTES_MAX} bytes")]
    Frontmatter,
    /// A hash is none.
    #[error("{0} must be 64 hexadecimal digits")]
    NotASha256(&'static str),
    /// The path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Niche or tags are none.
    #[error(transparent)]
    Label(#[from] LabelError),
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContentPiece {
    piece: Option<Piece>,
    deleted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    text: Personal<PieceText>,
    source_sha256: String,
    text_sha256: Option<String>,
    path_key: String,
}

aggregate!(ContentPiece, "ContentPiece", ContentPieceCommand, ContentPieceEvent, ContentPieceError);

impl ContentPiece {
    /// The whole business of a content piece.
    fn decide(&self, command: ContentPieceCommand) -> Result<Vec<ContentPieceEvent>, ContentPieceError> {
        match (command, &self.piece) {
            (ContentPieceCommand::Add { .. }, Some(_)) => Err(ContentPieceError::AlreadyAdded),
            (ContentPieceCommand::Add { piece_id, text, source_sha256, text_sha256, path_key }, None) => {
                check(&text, &source_sha256, text_sha256.as_deref())?;
                let text = Personal::known(piece_id.uuid(), text);
                Ok(vec![ContentPieceEvent::ContentPieceAdded {
                    piece_id,
                    text,
                    source_sha256,
                    text_sha256,
                    path_key,
                }])
            }
            (_, None) => Err(ContentPieceError::Unknown),
            (_, Some(_)) if self.deleted => Err(ContentPieceError::Unknown),
            (ContentPieceCommand::Change(patch), Some(piece)) => change(piece, *patch),
            (ContentPieceCommand::Delete, Some(piece)) => {
                Ok(vec![ContentPieceEvent::ContentPieceDeleted { freed_path_key: piece.path_key.clone() }])
            }
        }
    }

    fn evolve(&mut self, event: ContentPieceEvent) {
        match event {
            ContentPieceEvent::ContentPieceAdded { text, source_sha256, text_sha256, path_key, .. }
            | ContentPieceEvent::ContentPieceChanged { text, source_sha256, text_sha256, path_key, .. } => {
                self.piece = Some(Piece { text, source_sha256, text_sha256, path_key });
            }
            ContentPieceEvent::ContentPieceDeleted { .. } => self.deleted = true,
        }
    }

    /// Whether it was added and not deleted.
    pub fn is_live(&self) -> bool {
        self.piece.is_some() && !self.deleted
    }

    /// The labels of a message whose text has this SHA-256, with this subject if it has one; none if the board did not vouch
    /// for all of these words.
    pub fn labels_for(&self, subject: Option<&str>, text_sha256: &str) -> Option<Labels> {
        let piece = self.piece.as_ref().filter(|_| !self.deleted)?;
        let text = piece.text.value().filter(|_| piece.text_sha256.as_deref() == Some(text_sha256))?;
        if subject.is_some_and(|subject| subject != text.title) {
            return None;
        }
        Some(Labels { niche: text.niche.clone(), tags: text.tags.clone() })
    }
}

fn change(piece: &Piece, patch: ContentPiecePatch) -> Result<Vec<ContentPieceEvent>, ContentPieceError> {
    let known = piece.text.value().ok_or(ContentPieceError::Erased)?;
    let (source_path, path_key) = match patch.source_path {
        Some((path, key)) => (path.into(), key),
        None => (known.source_path.clone(), piece.path_key.clone()),
    };
    let text = PieceText {
        title: patch.title.unwrap_or_else(|| known.title.clone()),
        summary: patch.summary.unwrap_or_else(|| known.summary.clone()),
        source_path,
        tags: patch.tags.unwrap_or_else(|| known.tags.clone()),
        channel_intent: patch.channel_intent.unwrap_or(known.channel_intent),
        niche: patch.niche.unwrap_or_else(|| known.niche.clone()),
        frontmatter: patch.frontmatter.unwrap_or_else(|| known.frontmatter.clone()),
    };
    let changed = Piece {
        text: Personal::known(piece.text.subject(), text),
        source_sha256: patch.source_sha256.unwrap_or_else(|| piece.source_sha256.clone()),
        text_sha256: patch.text_sha256.unwrap_or_else(|| piece.text_sha256.clone()),
        path_key,
    };
    if changed == *piece {
        return Ok(vec![]);
    }
    let Piece { text, source_sha256, text_sha256, path_key } = changed;
    text.value().map_or(Ok(()), |text| check(text, &source_sha256, text_sha256.as_deref()))?;
    let freed_path_key = (path_key != piece.path_key).then(|| piece.path_key.clone());
    Ok(vec![ContentPieceEvent::ContentPieceChanged {
        text,
        source_sha256,
        text_sha256,
        path_key,
        freed_path_key,
    }])
}

fn check(text: &PieceText, source_sha256: &str, text_sha256: Option<&str>) -> Result<(), ContentPieceError> {
    if text.title.trim().is_empty() || text.title.len() > TITLE_BYTES_MAX {
        return Err(ContentPieceError::Title);
    }
    if text.summary.as_ref().is_some_and(|summary| summary.len() > SUMMARY_BYTES_MAX) {
        return Err(ContentPieceError::Summary);
    }
    if text.frontmatter.as_ref().is_some_and(|frontmatter| frontmatter.len() > FRONTMATTER_BYTES_MAX) {
        return Err(ContentPieceError::Frontmatter);
    }
    if ContentPath::parse(&text.source_path)?.as_str() != text.source_path {
        return Err(PathError::NotComposed.into());
    }
    labels::check_tags(&text.tags)?;
    text.niche.as_deref().map_or(Ok(()), labels::check_niche)?;
    if !is_sha256(source_sha256) {
        return Err(ContentPieceError::NotASha256("sourceSha256"));
    }
    if !text_sha256.is_none_or(is_sha256) {
        return Err(ContentPieceError::NotASha256("textSha256"));
    }
    Ok(())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
