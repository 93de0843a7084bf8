#!/bin/bash
# Installs the real LeRobot into a Python environment of its own, for `make test-lerobot`.
#
#   scripts/lerobot-env.sh DIRECTORY
#
# About 8 GB (it brings PyTorch) and some minutes, once; does nothing where it stands already. LeRobot needs
# Python 3.12 or later: PYTHON, else one on the PATH, else pyenv's, else one that uv downloads from GitHub.
set -euo pipefail
version=0.6.1
dir=${1:?usage: lerobot-env.sh DIRECTORY}
ready=$dir/ready-$version-feetech
[ -e "$ready" ] && exit 0

usable() { "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.12 python3.13 python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23]*/bin/python; do
    usable "$candidate" && { echo "$candidate"; return; }
  done
  if ! command -v uv >/dev/null; then
    echo "lerobot-env: no Python 3.12 or 3.13 here; fetching one by uv" >&2
    python3 -m venv "$dir/uv" && "$dir/uv/bin/pip" install -q --disable-pip-version-check uv >&2 || return
    PATH=$dir/uv/bin:$PATH
  fi
  export UV_PYTHON_INSTALL_DIR=$dir/python
  uv python install 3.12 >&2 && uv python find --managed-python 3.12
}

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
python=$(find_python) && [ -n "$python" ] || {
  echo "lerobot-env: LeRobot $version needs Python 3.12 or 3.13 and none was found or could be fetched." >&2
  echo "lerobot-env: install one (apt-get install python3.13 on Debian 13, pyenv install 3.12, uv python install 3.12)" >&2
  echo "lerobot-env: and run again, with PYTHON=/path/to/python where it is not on the PATH." >&2
  exit 1
}
echo "lerobot-env: installing LeRobot $version with $python into $dir (some minutes)" >&2
"$python" -m venv "$dir"
"$dir/bin/pip" install -q --disable-pip-version-check "lerobot[dataset,feetech]==$version" >&2
"$dir/bin/python" -c 'import scservo_sdk; from lerobot.datasets.lerobot_dataset import LeRobotDataset'
touch "$ready"
