#!/bin/bash
# Long runs by hand: 5000 short episodes in simulated time, then an hour in real time. Prints memory, descriptors, threads
# and the time of a save over the run, and fails if one of them grows.
#
#   scripts/soak.sh [EPISODES [MINUTES]]
set -euo pipefail
cd "$(dirname "$0")/.."
export RECORDER_SOAK_EPISODES=${1:-5000} RECORDER_SOAK_MINUTES=${2:-60}
exec cargo test --release --locked --test soak -- --include-ignored --nocapture --test-threads 1
