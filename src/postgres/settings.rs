//! The server's settings: for an append-heavy ledger on one person's machine.
//!
//! They are given on the command line, where they overrule `postgresql.conf`, so that what is
//! written here is what runs. Nothing here gives up durability: `fsync` and `synchronous_commit`
//! are on, and said to be.

use std::fs;

/// All settings but the ones that name a folder. `shared_buffers` is in megabytes.
pub fn settings(shared_buffers: u64) -> Vec<(&'static str, String)> {
    let fixed = [
        // Reached through the Unix socket only.
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        // For four processes and the commands beside them: each serving process keeps up to 42.
        ("max_connections", "200"),
        ("cluster_name", "docket"),
        ("timezone", "UTC"),
        // Durable: what was answered as committed survives a power cut.
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        // Checkpoints are rare, because each makes the next write of every page a whole page.
        ("checkpoint_timeout", "15min"),
        ("max_wal_size", "4GB"),
        ("wal_compression", "on"),
        // Nobody streams or archives from a private server. A table that is made and filled within
        // one transaction, as by a rebuild of the read side, is then not logged row by row: a
        // million rows took 5.6-7.5 s instead of 8.4 s and no log instead of 320 MB. Single inserts
        // gain nothing.
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        // Our statements are short: compiling them costs more than it saves.
        ("jit", "off"),
        // Messages are recognised by their English text.
        ("lc_messages", "C"),
        // Standard error is a pipe to Docket, which keeps the file.
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("log_line_prefix", "%m [%p] "),
        // A sign of life during recovery, for whoever waits for it.
        ("log_startup_progress_interval", "1s"),
        // No personal value may reach the log. An error's message or detail can quote one, as a
        // statement can; errors are for the client who caused them. `log` leaves them out here and
        // keeps what the server says of itself.
        ("log_min_messages", "log"),
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
        ("log_min_duration_sample", "-1"),
        ("log_transaction_sample_rate", "0"),
        ("log_parameter_max_length", "0"),
        ("log_parameter_max_length_on_error", "0"),
        ("log_lock_waits", "off"),
        ("log_temp_files", "-1"),
        ("debug_print_parse", "off"),
        ("debug_print_rewritten", "off"),
        ("debug_print_plan", "off"),
    ];
    let mut settings: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    settings.push(("shared_buffers", format!("{shared_buffers}MB")));
    settings
}

/// The server's own page cache, in megabytes: 256, or an eighth of the memory where that is less.
pub fn shared_buffers() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|info| total_memory(&info));
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let limit = limit.ok().and_then(|limit| limit.trim().parse::<u64>().ok());
    // Where neither is told, as on macOS, machines are not small.
    let megabytes = machine.into_iter().chain(limit).min().map(|bytes| bytes / (1024 * 1024));
    megabytes
        .map_or(SHARED_BUFFERS_MAX, |megabytes| (megabytes / 8).clamp(SHARED_BUFFERS_MIN, SHARED_BUFFERS_MAX))
}

const SHARED_BUFFERS_MAX: u64 = 256;
/// What the server still starts with when it was refused more.
pub const SHARED_BUFFERS_MIN: u64 = 16;

/// The bytes of memory that Linux tells in `/proc/meminfo`.
fn total_memory(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read_in_bytes() {
        let rows = [
            ("MemTotal:       24654764 kB\nMemFree:  1 kB\n", Some(24_654_764 * 1024)),
            ("MemFree: 1 kB\n", None),
            ("MemTotal: many kB\n", None),
        ];
        for (meminfo, bytes) in rows {
            assert_eq!(total_memory(meminfo), bytes, "{meminfo}");
        }
    }
}
