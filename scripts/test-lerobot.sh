#!/bin/bash
# Records data sets and loads each with the real LeRobot, every row in every video back end.
#
# LeRobot is installed by scripts/lerobot-env.sh into the user's cache, once. RECORDER_LEROBOT_ENV names
# a Python environment that has it already.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
recorder=$(realpath "$target/release/recorder")

env=${RECORDER_LEROBOT_ENV:-}
if [ -z "$env" ]; then
  env=${XDG_CACHE_HOME:-$HOME/.cache}/recorder/lerobot-0.6.1
  scripts/lerobot-env.sh "$env"
fi

work=$target/test-lerobot
rm -rf "$work"
mkdir -p "$work"
work=$(realpath "$work")

clip() { # NAME SIZE
  ffmpeg -v error -f lavfi -i "testsrc2=size=$2:rate=30" -t 4 -c:v mjpeg -q:v 4 -pix_fmt yuvj422p -f image2pipe "$work/$1.mjpeg"
}
clip front 640x480
clip wrist 320x240

record() { # CONFIG NAME [OVERRIDE...]
  local config=$1 name=$2
  shift 2
  echo "test-lerobot: recording $name"
  "$recorder" --config "$config" --dataset.root="$work/$name" "$@"
}
files=(--robot.cameras.front.index_or_path="$work/front.mjpeg" --robot.cameras.wrist.index_or_path="$work/wrist.mjpeg")

record examples/demo.toml demo --metrics.listen=
record tests/py/file.toml file "${files[@]}"
record tests/py/file.toml file "${files[@]}" --dataset.resume=true --dataset.num_episodes=1   # adds to it
record tests/py/file.toml copy "${files[@]}" --dataset.encoder.codec=copy

# At full speed every picture of the clips is in exactly one row.
if grep -rhE '"repeated": [1-9]' "$work"/{file,copy}/recorder/episodes; then
  echo "test-lerobot: rows of file cameras are repeated" >&2
  exit 1
fi

passed=0
failed=0
hold() { # COMMAND...
  if "$env/bin/python" "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
for name in demo file copy; do
  hold tests/py/check_lerobot.py "$work/$name"
done

# A chart's colours, as each back end gives them.
for sampling in 422 420; do
  for codec in h264 copy; do
    name=colour-$sampling-$codec
    chart=$PWD/tests/data/colour/chart-$sampling
    record tests/py/colour.toml "$name" --robot.cameras.chart.index_or_path="$chart.jpg" --dataset.encoder.codec="$codec"
    for backend in pyav torchcodec; do
      hold tests/py/check_colour.py "$work/$name" "$chart.json" --backend "$backend"
    done
  done
done
echo "test-lerobot: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
