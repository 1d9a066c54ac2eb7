//! How a campaign is worked: how often somebody is called, and in which hours.
//!
//! Hours that are empty and time zones that do not exist are refused here, whether a campaign is set up or changed; a patch
//! changes only what it names.

use docket_aggregates::campaign::{CallWindow, CampaignSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spelling::nearest;
use crate::tools::input::Patch;
use crate::tools::{Refusal, ToolResult};

/// How a campaign is worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    /// Calls without an answer after which a contact counts as unreachable.
    #[schemars(range(min = 1, max = 20))]
    max_attempts: Option<u8>,
    /// The hours in which calls are made.
    call_window: Option<Window>,
}

/// The hours in which calls are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Window {
    /// Local time HH:MM, inclusive.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    start: String,
    /// Local time HH:MM, exclusive; before start means over midnight.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    end: String,
    /// IANA time zone, as Europe/Paris.
    #[schemars(length(min = 1, max = 64))]
    tz: String,
}

impl Settings {
    pub(super) fn of(settings: &CampaignSettings) -> Self {
        Self {
            max_attempts: settings.max_attempts,
            call_window: settings.call_window.clone().map(|window| Window {
                start: window.start,
                end: window.end,
                tz: window.tz,
            }),
        }
    }

    pub(super) fn checked(self, path: &str) -> ToolResult<CampaignSettings> {
        let window =
            self.call_window.map(|window| window.checked(&format!("{path}.callWindow"))).transpose()?;
        Ok(CampaignSettings { max_attempts: self.max_attempts, call_window: window })
    }
}

impl Window {
    /// Hours that are not empty, in a time zone that exists.
    fn checked(self, path: &str) -> ToolResult<CallWindow> {
        if self.start == self.end {
            return Err(Refusal::field(path, "EMPTY_WINDOW", "start and end must differ"));
        }
        let Ok(zone) = jiff::tz::TimeZone::get(&self.tz) else {
            let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let message = match nearest(&self.tz, names.iter().map(String::as_str)) {
                Some(meant) => format!("is no IANA time zone; did you mean {meant}?"),
                None => "is no IANA time zone, as Europe/Paris".to_owned(),
            };
            return Err(Refusal::field(&format!("{path}.tz"), "UNKNOWN_TIME_ZONE", message));
        };
        let tz = zone.iana_name().map_or(self.tz, str::to_owned);
        Ok(CallWindow { start: self.start, end: self.end, tz })
    }
}

/// What of the settings is to change.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SettingsPatch {
    /// Calls without an answer after which a contact counts as unreachable; null clears.
    #[schemars(range(min = 1, max = 20))]
    max_attempts: Patch<u8>,
    /// The hours in which calls are made; null clears.
    call_window: Patch<Window>,
}

pub(super) fn merged(
    before: &CampaignSettings,
    wanted: Patch<SettingsPatch>,
) -> ToolResult<Option<CampaignSettings>> {
    let wanted = match wanted {
        Patch::Keep => return Ok(None),
        Patch::Clear => return Ok(Some(CampaignSettings::default())),
        Patch::Set(wanted) => wanted,
    };
    let call_window = match wanted.call_window {
        Patch::Keep => before.call_window.clone(),
        Patch::Clear => None,
        Patch::Set(window) => Some(window.checked("patch.settings.callWindow")?),
    };
    Ok(Some(CampaignSettings {
        max_attempts: wanted.max_attempts.nested().unwrap_or(before.max_attempts),
        call_window,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn window(start: &str, end: &str, tz: &str) -> Window {
        Window { start: start.into(), end: end.into(), tz: tz.into() }
    }

    #[test]
    fn a_call_window_is_some_hours_in_a_time_zone_that_exists() {
        for (window, expected) in [
            (window("09:00", "18:00", "Europe/Paris"), Ok("Europe/Paris")),
            (window("22:00", "06:00", "europe/paris"), Ok("Europe/Paris")),
            (window("09:00", "09:00", "Europe/Paris"), Err("EMPTY_WINDOW")),
            (window("09:00", "18:00", "Europe/Pari"), Err("UNKNOWN_TIME_ZONE")),
            (window("09:00", "18:00", "../../etc/passwd"), Err("UNKNOWN_TIME_ZONE")),
        ] {
            let shown = format!("{window:?}");
            match (window.checked("settings.callWindow"), expected) {
                (Ok(window), Ok(tz)) => assert_eq!(window.tz, tz),
                (Err(refusal), Err(code)) => assert_eq!(refusal.field_errors()[0].code, code, "{shown}"),
                (got, _) => panic!("{shown}: {got:?}"),
            }
        }
    }

    #[test]
    fn settings_change_only_where_the_patch_says() {
        let before = CampaignSettings {
            max_attempts: Some(3),
            call_window: Some(CallWindow { start: "09:00".into(), end: "10:00".into(), tz: "UTC".into() }),
        };
        let patch = |value: Value| serde_json::from_value::<Patch<SettingsPatch>>(value).unwrap();
        let after = merged(&before, patch(json!({ "maxAttempts": 5 }))).unwrap().unwrap();
        assert_eq!((after.max_attempts, after.call_window), (Some(5), before.call_window.clone()));
        let after = merged(&before, patch(json!({ "callWindow": null }))).unwrap().unwrap();
        assert_eq!((after.max_attempts, after.call_window), (Some(3), None));
        assert_eq!(merged(&before, patch(json!(null))).unwrap(), Some(CampaignSettings::default()));
        assert_eq!(merged(&before, Patch::Keep).unwrap(), None);
    }
}
