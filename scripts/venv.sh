#!/bin/bash
# Makes the Python environment of the tests and of grafana/generate.py, and prints the path of its interpreter.
#
#   scripts/venv.sh [DIRECTORY]     default: target/test-venv
#
# Does nothing but print where it stands already with these requirements. (Of feetech-servo-sdk there is only the source.)
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-${CARGO_TARGET_DIR:-target}/test-venv}
requirements=tests/py/requirements.txt
if ! cmp -s "$requirements" "$dir/installed.txt"; then
  echo "venv: installing $(tr -s '\n' ' ' < <(sed 's/[ ;#].*//' "$requirements"))into $dir" >&2
  rm -rf "$dir"
  python3 -m venv "$dir"
  "$dir/bin/pip" install -q --disable-pip-version-check --only-binary=:all: --no-binary=feetech-servo-sdk -r "$requirements" >&2
  cp "$requirements" "$dir/installed.txt"
fi
echo "$(cd "$dir" && pwd)/bin/python"
