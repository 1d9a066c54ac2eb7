//! The labels by which approval rules tell messages apart: one niche, some tags.
//!
//! No sender labels its own words. Labels come from a content piece whose text the board vouched for, or are the
//! outbox's niche and no tags.

use serde::{Deserialize, Serialize};

/// Tags of one thing, at most.
pub const TAGS_MAX: usize = 50;
/// Bytes of one tag, at most.
pub const TAG_BYTES_MAX: usize = 64;

/// A niche and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// A slug, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub niche: Option<String>,
    /// Tags, as they were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Why a label is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The niche is no slug.
    #[error("niche must be 1 to 64 lower-case letters, digits and hyphens")]
    NotASlug,
    /// There are too many tags.
    #[error("there must be at most {TAGS_MAX} tags")]
    TooManyTags,
    /// A tag is empty, or too long.
    #[error("a tag must have 1 to {TAG_BYTES_MAX} bytes")]
    TagLength,
}

/// Whether the text can be a niche.
pub fn check_niche(text: &str) -> Result<(), LabelError> {
    let slug = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if slug { Ok(()) } else { Err(LabelError::NotASlug) }
}

/// Whether the texts can be tags.
pub fn check_tags(tags: &[String]) -> Result<(), LabelError> {
    if tags.len() > TAGS_MAX {
        return Err(LabelError::TooManyTags);
    }
    let fits = |tag: &String| !tag.trim().is_empty() && tag.len() <= TAG_BYTES_MAX;
    if tags.iter().all(fits) { Ok(()) } else { Err(LabelError::TagLength) }
}

impl Labels {
    /// Whether niche and tags can be what they are.
    pub fn check(&self) -> Result<(), LabelError> {
        self.niche.as_deref().map_or(Ok(()), check_niche)?;
        check_tags(&self.tags)
    }
}

/// What two spellings of one tag have in common.
pub fn comparable_tag(tag: &str) -> String {
    tag.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_niche_is_a_slug() {
        for niche in ["renovation", "b2b-2026", "a"] {
            assert_eq!(check_niche(niche), Ok(()));
        }
        for niche in ["", "Renovation", "a b", "é", "a_b", "a\0", &"a".repeat(65)] {
            assert_eq!(check_niche(niche), Err(LabelError::NotASlug), "{niche}");
        }
    }

    #[test]
    fn tags_are_counted_in_bytes() {
        let emoji = |count| "🏠".repeat(count);
        assert_eq!(check_tags(&[emoji(16)]), Ok(()));
        assert_eq!(check_tags(&[emoji(16) + "a"]), Err(LabelError::TagLength));
        assert_eq!(check_tags(&[" ".into()]), Err(LabelError::TagLength));
        assert_eq!(check_tags(&vec!["a".into(); 50]), Ok(()));
        assert_eq!(check_tags(&vec!["a".into(); 51]), Err(LabelError::TooManyTags));
    }
}
