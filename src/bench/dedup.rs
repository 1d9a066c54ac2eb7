//! Deduplication on labelled data: two files and the pairs that are the same.

use std::path::Path;

use crate::deduplication::labelled::{self, LabelledError, LabelledOptions, Report};

/// Analyses `right` against `left` and compares with `truth`.
pub fn run(
    left: &Path,
    right: &Path,
    truth: &Path,
    options: &LabelledOptions,
) -> Result<Report, LabelledError> {
    labelled::evaluate(left, right, truth, options)
}
