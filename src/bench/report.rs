//! What a run found: figures, and the ratios between them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::sizes::Sized;

/// One run of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Which scenario.
    pub name: String,
    /// Callers at once.
    pub callers: usize,
    /// Commands in a second.
    pub per_second: f64,
    /// Half of the commands took no longer, in milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred took no longer, in milliseconds.
    pub p99_ms: f64,
    /// Commands that were not answered with success.
    pub failed: u64,
    /// Longest and all-but-one-in-a-hundred wait until a write could be read, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_lag_ms: Option<(f64, f64)>,
}

/// Everything that a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The figures, in the order measured.
    pub scenarios: Vec<Figure>,
    /// What grows with size.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Sized>,
    /// Ratios within this run.
    pub ratios: BTreeMap<String, f64>,
}

impl Figure {
    /// A figure from the time that each command took.
    pub fn of(name: &str, callers: usize, elapsed: Duration, mut micros: Vec<u32>, failed: u64) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            let index = ((micros.len() as f64 * share) as usize).min(micros.len().saturating_sub(1));
            micros.get(index).map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
        };
        Self {
            name: name.to_owned(),
            callers,
            per_second: micros.len() as f64 / elapsed.as_secs_f64(),
            p50_ms: at(0.50),
            p99_ms: at(0.99),
            failed,
            read_lag_ms: None,
        }
    }
}

/// A scenario at a number of callers.
type At = (&'static str, usize);

/// The ratios that are claimed: a name, what is measured, and against what.
const RATIOS: [(&str, At, At); 5] = [
    ("ledger_256_over_stock_views", ("ledger", 256), ("stock_views", 256)),
    ("ledger_256_over_stock_bare", ("ledger", 256), ("stock_bare", 256)),
    ("ledger_1_over_stock_bare", ("ledger", 1), ("stock_bare", 1)),
    (
        "ledger_100_organizations_256_over_stock_views",
        ("ledger_100_organizations", 256),
        ("stock_views", 256),
    ),
    ("http_64_over_stock_views", ("http", 64), ("stock_views", 64)),
];

impl Report {
    /// Computes the ratios of what was measured.
    pub fn finish(&mut self) {
        let find = |(name, callers): (&str, usize)| {
            self.scenarios.iter().find(|figure| figure.name == name && figure.callers == callers)
        };
        let ratios = RATIOS.iter().filter_map(|(name, ours, theirs)| {
            Some(((*name).to_owned(), find(*ours)?.per_second / find(*theirs)?.per_second))
        });
        self.ratios = ratios.collect();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:28} {:>7} {:>12} {:>10} {:>10} {:>7}",
            "scenario", "callers", "per second", "p50 ms", "p99 ms", "failed"
        )?;
        for figure in &self.scenarios {
            write!(
                f,
                "{:28} {:>7} {:>12.0} {:>10.2} {:>10.2} {:>7}",
                figure.name, figure.callers, figure.per_second, figure.p50_ms, figure.p99_ms, figure.failed
            )?;
            match figure.read_lag_ms {
                Some((max, p99)) => writeln!(f, "   read lag max {max:.0} ms, p99 {p99:.0} ms")?,
                None => writeln!(f)?,
            }
        }
        if !self.sizes.is_empty() {
            writeln!(
                f,
                "\n{:12} {:>10} {:>10} {:>12} {:>8}",
                "scenario", "size", "seconds", "per second", "growth"
            )?;
        }
        for sized in &self.sizes {
            let growth = sized.growth.map_or_else(String::new, |growth| format!("x{growth:.1}"));
            writeln!(
                f,
                "{:12} {:>10} {:>10.3} {:>12.0} {growth:>8}  {}",
                sized.name, sized.size, sized.seconds, sized.per_second, sized.notes
            )?;
        }
        writeln!(f)?;
        for (name, ratio) in &self.ratios {
            writeln!(f, "{name:48} {ratio:>8.2}")?;
        }
        Ok(())
    }
}
