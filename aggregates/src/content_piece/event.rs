//! Stored events of a content piece. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::ids::ContentPieceId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// What is said of a piece in words. All of it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceText {
    /// Its title.
    pub title: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Where it stands, relative to the content's root, composed (NFC).
    pub source_path: String,
    /// Tags, as they were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The channel that it is written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_intent: Option<Channel>,
    /// The niche that it is written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub niche: Option<String>,
    /// The head of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontmatter: Option<String>,
}

/// The facts of a content piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ContentPieceEvent {
    /// It may be sent from.
    ContentPieceAdded {
        /// Its id, which is also its stream.
        piece_id: ContentPieceId,
        /// What is said of it. The subject is the piece.
        text: Personal<PieceText>,
        /// SHA-256 of the file, in hexadecimal.
        source_sha256: String,
        /// SHA-256 of the text that the board vouches for, in hexadecimal.
        text_sha256: Option<String>,
        /// Keyed hash of the path; held from here on.
        path_key: String,
    },
    /// It is another.
    ContentPieceChanged {
        /// All that is said of it now.
        text: Personal<PieceText>,
        /// SHA-256 of the file, in hexadecimal.
        source_sha256: String,
        /// SHA-256 of the text that the board vouches for, in hexadecimal.
        text_sha256: Option<String>,
        /// Keyed hash of the path; held from here on.
        path_key: String,
        /// Keyed hash of the path that is free again, where it moved.
        freed_path_key: Option<String>,
    },
    /// It is out of use.
    ContentPieceDeleted {
        /// Keyed hash of the path that is free again.
        freed_path_key: String,
    },
}

stored_events!(ContentPieceEvent {
    ContentPieceAdded "1",
    ContentPieceChanged "1",
    ContentPieceDeleted "1",
});
