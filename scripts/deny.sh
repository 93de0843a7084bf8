#!/bin/bash
# Checks the dependencies' licences, sources and known vulnerabilities against deny.toml, with cargo-deny.
#
# Installs cargo-deny from crates.io where it is missing (two to three minutes, once, into the user's cache).
# The vulnerabilities are in a database on GitHub: where that cannot be reached, says so and checks the rest.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/recorder/tools
database=https://github.com/RustSec/advisory-db

PATH=$PATH:$tools/bin
if ! cargo deny --version >/dev/null 2>&1; then
  echo "deny: installing cargo-deny $version into $tools"
  env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-deny --version "$version" --root "$tools"
fi
checks=(bans licenses sources)
if GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --exit-code "$database" HEAD >/dev/null 2>&1; then
  checks+=(advisories)
else
  echo "deny: ADVISORIES NOT CHECKED: $database cannot be reached from here" >&2
fi
cargo deny check --hide-inclusion-graph "${checks[@]}"
