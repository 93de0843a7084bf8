#!/bin/bash
# Fuzzes the configuration, the servo packets, cameras' JPEGs, the takes' journals, mp4 files and a data set's tables, each for so
# many seconds.
#
#   scripts/fuzz.sh [SECONDS]     default: 30
#
# Needs a nightly toolchain; installs cargo-fuzz from crates.io where it is missing. Without a nightly toolchain it
# says so and does nothing: property tests hold the same parsers in `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}
tools=${XDG_CACHE_HOME:-$HOME/.cache}/recorder/tools

PATH=$PATH:$tools/bin
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "fuzz: NOT FUZZED: no nightly toolchain (rustup toolchain install nightly)" >&2
  exit 0
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzz: installing cargo-fuzz into $tools"
  env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-fuzz --version 0.13.2 --root "$tools"
fi
# No sanitizer: the parsers are safe Rust (libjpeg-turbo behind them is C, and is fuzzed by its makers), and what is looked for
# is a panic.
for target in fuzz/fuzz_targets/*.rs; do
  name=$(basename "$target" .rs)
  echo "fuzz: $name for $seconds s"
  # An mp4 file's boxes and a JPEG's segments are not found by chance: start from whole files.
  seeds=()
  case $name in
    mp4) seeds=(fuzz/corpus/mp4 tests/data/lerobot-v3-sample/videos/*/chunk-000) ;;
    jpeg) seeds=(fuzz/corpus/jpeg tests/data/jpeg) ;;
  esac
  mkdir -p "fuzz/corpus/$name"
  cargo +nightly fuzz run --sanitizer none --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" "$name" "${seeds[@]}" -- \
    -max_total_time="$seconds" -verbosity=0 -print_final_stats=1 2>&1 | grep -vE '# Uses|recommended dictionary'
done
