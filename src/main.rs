//! The command `docket`.

use std::process::ExitCode;

fn main() -> ExitCode {
    docket::cli::main()
}
