//! What can be measured from outside, in the text form of Prometheus.
//!
//! [`LIST`] names every metric with its meaning; `docs/operating-metrics.md` prints it. No label ever names an
//! organization, a contact or a person: their number has no bound, and a metric is not the place for them.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds, in buckets.
    Seconds,
}

/// A metric: name, kind, labels, meaning.
pub type Metric = (&'static str, Kind, &'static str, &'static str);

/// Every metric there is.
pub const LIST: &[Metric] = &[
    (
        "docket_append_seconds",
        Kind::Seconds,
        "lane",
        "One transaction of the append, from its begin to its commit.",
    ),
    (
        "docket_fold_seconds",
        Kind::Seconds,
        "",
        "Folding one portion of one organization's events, from the read to the commit.",
    ),
    ("docket_fold_events_total", Kind::Counter, "", "Events folded into the read models."),
    (
        "docket_append_commands_total",
        Kind::Counter,
        "outcome",
        "Commands that the append judged: accepted, refused, or busy (another process held the organization's head; they are tried again).",
    ),
    ("docket_append_queue_depth", Kind::Gauge, "lane", "Commands that wait for the append."),
    (
        "docket_read_lag_events",
        Kind::Gauge,
        "",
        "Events that the read models have not folded yet, over all organizations.",
    ),
    (
        "docket_read_lag_organizations",
        Kind::Gauge,
        "",
        "Organizations whose read models are behind their ledger.",
    ),
    (
        "docket_read_wait_seconds",
        Kind::Seconds,
        "",
        "How long a read waited until the read models had folded what it had to see: the head when it arrived, or the position that it named.",
    ),
    (
        "docket_parked_organizations",
        Kind::Gauge,
        "",
        "Organizations whose read models are parked at an event that cannot be folded. Anything above 0 needs a person.",
    ),
    (
        "docket_http_request_seconds",
        Kind::Seconds,
        "route, status",
        "Requests by route and class of status, until the answer begins.",
    ),
    ("docket_http_requests_in_flight", Kind::Gauge, "", "Requests that are being served."),
    ("docket_http_connections", Kind::Gauge, "", "Open connections."),
    (
        "docket_http_refused_total",
        Kind::Counter,
        "reason",
        "Requests that were turned away because the process was as busy as it may be, took too long, or panicked.",
    ),
    (
        "docket_import_rows_total",
        Kind::Counter,
        "step",
        "Rows of imports: staged, invalid, created, updated, skipped.",
    ),
    (
        "docket_import_chunk_seconds",
        Kind::Seconds,
        "step",
        "One chunk of an import, from the file or the ledger to its commit: stage, commit.",
    ),
    ("docket_imports_running", Kind::Gauge, "", "Imports that this process is staging or committing."),
    ("docket_imports_waiting", Kind::Gauge, "", "Imports that wait for their turn."),
    (
        "docket_model_questions_total",
        Kind::Counter,
        "outcome",
        "Questions to the language model: answered, too_slow, unreachable, or unusable (a status or an answer that is none).",
    ),
    (
        "docket_brand_voice_checks_total",
        Kind::Counter,
        "outcome",
        "Drafts that were to be checked: hit (the verdict was known), asked, or failed (the checker gave none).",
    ),
    (
        "docket_hook_runs_total",
        Kind::Counter,
        "outcome",
        "Runs of post-issue hooks: done, skipped, again (it failed and is tried again), or failed for good.",
    ),
    (
        "docket_webhook_posts_total",
        Kind::Counter,
        "outcome",
        "Posts of outgoing webhooks: delivered, again (not taken, and posted again), failed for good, or dropped.",
    ),
    (
        "docket_background_panics_total",
        Kind::Counter,
        "work",
        "Work in the background that panicked and was begun anew.",
    ),
    ("docket_event_streams", Kind::Gauge, "", "Streams of events that clients keep open."),
    ("docket_sequence_enrolled_total", Kind::Counter, "", "Contacts that were put into sequences."),
    ("docket_sequence_steps_total", Kind::Counter, "", "Steps of sequences that were taken."),
    (
        "docket_sequence_ended_total",
        Kind::Counter,
        "because",
        "Enrollments that came to their end: finished, or why they were stopped.",
    ),
    ("docket_dispatch_in_flight", Kind::Gauge, "", "Messages that this process has claimed and is at."),
    (
        "docket_dispatch_handed_over_total",
        Kind::Counter,
        "",
        "Messages whose hand-over to their channel was recorded, each try counted.",
    ),
    (
        "docket_dispatch_outcomes_total",
        Kind::Counter,
        "outcome",
        "Outcomes of hand-overs that were recorded: accepted, rejected, retry, unknown, or taken_back (the channel was not called, because its turn came too late).",
    ),
    (
        "docket_dispatch_conflicts_total",
        Kind::Counter,
        "",
        "Hand-overs that were decided anew because something that they rested on had changed.",
    ),
    (
        "docket_dispatch_call_seconds",
        Kind::Seconds,
        "outcome",
        "One call of a channel, by what it answered: accepted, rejected, retry, unknown.",
    ),
    (
        "docket_heard_total",
        Kind::Counter,
        "channel, matched",
        "Notices of providers that came in by webhooks, and whether they were about a message of ours.",
    ),
    (
        "docket_webhook_items_unread_total",
        Kind::Counter,
        "",
        "Items of signed webhooks that came in and were passed over, because they were not as the provider documents them.",
    ),
    (
        "docket_mail_heard_total",
        Kind::Counter,
        "kind",
        "Mail that came in by LMTP: reply, bounce, complaint, automatic_reply, other, unmatched, unknown, or unavailable (it comes again).",
    ),
    ("docket_access_log_depth", Kind::Gauge, "", "Calls that wait to be written to the access log."),
    (
        "docket_access_log_lost_total",
        Kind::Counter,
        "",
        "Calls that were not written to the access log, because the database did not take them in time.",
    ),
    (
        "docket_access_log_strangers_total",
        Kind::Counter,
        "",
        "Calls without a valid token that were not written to the access log, because there were too many of them.",
    ),
];

const SECONDS: &[f64] =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The recorder of this process, installed when it is first asked for. Nothing is measured if another one is
/// installed already.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
        }
        describe();
        handle
    })
}

fn describe() {
    for (name, kind, _, meaning) in LIST {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *meaning),
            Kind::Gauge => metrics::describe_gauge!(*name, *meaning),
            Kind::Seconds => metrics::describe_histogram!(*name, metrics::Unit::Seconds, *meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating-metrics.md");

    #[test]
    fn the_documentation_prints_the_list() {
        let table: String = LIST
            .iter()
            .map(|(name, kind, labels, meaning)| {
                let kind = match kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Seconds => "histogram",
                };
                format!("| `{name}` | {kind} | {labels} | {meaning} |\n")
            })
            .collect();
        let (begin, end) = ("<!-- metrics -->\n", "<!-- /metrics -->");
        let page = std::fs::read_to_string(DOCUMENTATION).unwrap();
        let (head, rest) = page.split_once(begin).unwrap();
        let (printed, tail) = rest.split_once(end).unwrap();
        let wanted = format!("| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n{table}");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(DOCUMENTATION, format!("{head}{begin}{wanted}{end}{tail}")).unwrap();
        } else {
            assert_eq!(printed, wanted, "run this test with UPDATE_DOCS=1");
        }
    }

    /// Names that the code records under: the first argument of a call, with the one prefix that they all have.
    fn used(folder: &std::path::Path, found: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, found);
            } else if path.ends_with("src/metrics.rs") {
                // The list itself.
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let quoted: Vec<&str> = text.split('"').collect();
                let first = |pair: &&[&str]| pair[0].trim_end().ends_with('(');
                let is_name = |name: &&str| {
                    name.starts_with("docket_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                };
                let names = quoted.windows(2).filter(first).map(|pair| pair[1]);
                found.extend(names.filter(is_name).map(str::to_owned));
            }
        }
    }

    #[test]
    fn whatever_is_measured_is_listed_and_nothing_else() {
        let mut found = std::collections::BTreeSet::new();
        used(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let listed: std::collections::BTreeSet<String> =
            LIST.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let unlisted: Vec<_> = found.difference(&listed).collect();
        assert!(unlisted.is_empty(), "{unlisted:?} must be described in LIST");
        let unmeasured: Vec<_> = listed.difference(&found).collect();
        assert!(unmeasured.is_empty(), "{unmeasured:?} are in LIST, and nothing records them");
    }

    #[test]
    fn no_label_has_an_unbounded_number_of_values() {
        for (name, _, labels, _) in LIST {
            for label in labels.split(", ").filter(|label| !label.is_empty()) {
                assert!(
                    [
                        "because", "channel", "kind", "lane", "matched", "outcome", "reason", "route",
                        "status", "step", "work"
                    ]
                    .contains(&label),
                    "{name}: {label}"
                );
            }
        }
    }
}
