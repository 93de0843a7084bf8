#!/bin/bash
# Prints the folder that holds `prometheus` and `promtool`, for the tests: the one on the PATH, else Debian's package, unpacked.
#
#   scripts/prometheus.sh [DIRECTORY]     default: target/prometheus
#
# The package is unpacked and not installed: installing it needs root and starts a Prometheus on port 9090.
# Needs neither root nor package lists. Does nothing but print where it stands already.
set -euo pipefail
cd "$(dirname "$0")/.."

# Both of them, in one folder, and they run.
complete() { "$1/prometheus" --version && "$1/promtool" --version; } >/dev/null 2>&1

if found=$(command -v promtool) && complete "$(dirname "$found")"; then
  (cd "$(dirname "$found")" && pwd)
  exit
fi

dir=${1:-${CARGO_TARGET_DIR:-target}/prometheus}
if ! complete "$dir/usr/bin"; then
  if ! command -v apt-get >/dev/null; then
    echo "prometheus: prometheus and promtool are not on the PATH, and there is no apt-get to fetch them with." >&2
    echo "prometheus: Unpack a release of https://prometheus.io/download (2.42 or later) and add its folder to the PATH." >&2
    exit 1
  fi
  echo "prometheus: fetching Debian's package into $dir" >&2
  rm -rf "$dir" && mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
  apt=$(cd "$dir/apt" && pwd)
  # Lists of its own: those of the system may be missing or out of date, and only root may renew them.
  options=(-q -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  if ! { apt-get "${options[@]}" update; (cd "$apt" && apt-get "${options[@]}" download prometheus) &&
    dpkg-deb -x "$apt"/prometheus_*.deb "$dir"; } >"$dir/log" 2>&1 || ! complete "$dir/usr/bin"; then
    cat "$dir/log" >&2
    echo "prometheus: that failed. With a network, run this again; or unpack a release of https://prometheus.io/download" >&2
    echo "prometheus: (2.42 or later) and add its folder to the PATH." >&2
    exit 1
  fi
  rm -rf "$apt"
fi
(cd "$dir/usr/bin" && pwd)
