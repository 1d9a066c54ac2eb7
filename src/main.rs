//! The command `docket`.

use std::process::ExitCode;

/// Events are trees of small JSON values that are made by one thread and dropped by another. With the system's
/// allocator a third of the time of an import goes into that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    docket::cli::main()
}
