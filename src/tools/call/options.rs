//! What every change takes beside its own input, and what follows from it: whether a call only shows, or applies.
//!
//! The framework reads these members itself. They say how a call is to be made and not what is asked for, so that what is
//! asked for can be had without them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ledger::canonical;
use crate::tools::refusal::{Refusal, ToolResult};

/// Whether a plan that differs from its preview is applied as far as it was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::tools) enum OnDrift {
    /// Nothing happens: 409 `PREVIEW_DRIFT`.
    #[default]
    Refuse,
    /// What was shown and is still possible happens.
    Intersect,
}

/// What every change takes.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::tools) struct ChangeOptions {
    /// Only show what would happen, and change nothing.
    pub dry_run: Option<bool>,
    /// Apply exactly what a preview showed: its meta.previewToken, with the same input.
    #[schemars(length(min = 1, max = 200))]
    pub preview_token: Option<String>,
    /// What to do if the affected set differs from the preview's.
    pub on_drift: Option<OnDrift>,
}

/// What a change takes that must be confirmed.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(in crate::tools) struct ConfirmOption {
    /// Must be true to apply; without it the call only shows what would happen.
    pub confirm: Option<bool>,
}

/// Whether only a preview is made. `dryRun: true` beats `confirm: true`; applying what needs confirmation without it
/// is refused.
pub(super) fn effective_dry_run(
    gated: bool,
    dry_run: Option<bool>,
    confirm: Option<bool>,
) -> ToolResult<bool> {
    let confirmed = confirm == Some(true);
    match (gated, dry_run) {
        (false, dry_run) => Ok(dry_run.unwrap_or(false)),
        (true, Some(false)) if !confirmed => Err(Refusal::ConfirmRequired),
        (true, dry_run) => Ok(dry_run.unwrap_or(!confirmed)),
    }
}

/// Options that the framework reads itself; the schema has seen them before.
pub(super) fn options<T: DeserializeOwned + Default>(input: &Value) -> ToolResult<T> {
    T::deserialize(input).map_err(|error| Refusal::field("", "INVALID", error.to_string()))
}

/// The input in canonical JSON, without the named members.
pub(super) fn without(input: &Value, members: &[&str]) -> ToolResult<String> {
    let input = input.as_object().into_iter().flatten();
    let kept = input.filter(|(name, _)| !members.contains(&name.as_str()));
    canonical::object_with_fractions(kept).map_err(|error| Refusal::Defect(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_the_default_of_what_must_be_confirmed() {
        let (yes, no) = (Some(true), Some(false));
        for (gated, dry_run, confirm, expected) in [
            (false, None, None, Some(false)),
            (false, yes, None, Some(true)),
            (false, no, None, Some(false)),
            (true, None, None, Some(true)),
            (true, None, no, Some(true)),
            (true, None, yes, Some(false)),
            (true, yes, None, Some(true)),
            (true, yes, no, Some(true)),
            (true, yes, yes, Some(true)),
            (true, no, yes, Some(false)),
            (true, no, None, None),
            (true, no, no, None),
        ] {
            let got = effective_dry_run(gated, dry_run, confirm);
            match (got, expected) {
                (Ok(got), Some(expected)) => assert_eq!(got, expected, "{gated} {dry_run:?} {confirm:?}"),
                (Err(Refusal::ConfirmRequired), None) => (),
                (got, _) => panic!("{gated} {dry_run:?} {confirm:?}: {got:?}"),
            }
        }
    }
}
