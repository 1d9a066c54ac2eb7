# The verbs of a working day. `just` alone lists them.

_list:
    @just --list

# Serve the sample organization from a private database.
dev *arguments:
    cargo run --release -- demo {{arguments}}

# Run every test, or those whose names hold the given words.
test *words:
    cargo test --workspace -- {{words}}

# What continuous integration asks of the code's form.
lint:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

# Bring the code into form.
fmt:
    cargo fmt

# Write the parts of the documentation that are printed from the code.
docs:
    UPDATE_DOCS=1 cargo test --lib -- the_reference the_documentation

# Look at the private database of the demo.
db:
    psql -h "${DOCKET_DEMO_DIR:?source the demo.env of a running demo}/postgres" -U docket docket

# Licences, advisories and duplicates of dependencies.
deny:
    cargo deny check

# What clients say that nobody here wrote: conformance, requests made of the reference, mail servers, a browser.
strangers:
    tests/mcp/run
    tests/openapi/run
    tests/mail/run
    tests/browser/run

# Everything that continuous integration runs.
ci:
    .ci/run
