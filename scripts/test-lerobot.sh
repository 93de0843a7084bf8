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
ffmpeg -v error -i "$work/front.mjpeg" -pix_fmt yuv420p -c:v libx264 -g 15 -bf 0 -f h264 "$work/front.h264"

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

# A camera that encodes itself: stored as it came, and partly encoded anew, where rows repeat or leave out a picture.
coded=("${files[@]}" --robot.cameras.front.fourcc=H264 --robot.cameras.front.index_or_path="$work/front.h264")
record tests/py/file.toml coded "${coded[@]}"
record tests/py/file.toml coded-slow "${coded[@]}" --robot.cameras.front.fps=20
record tests/py/file.toml coded-copy "${coded[@]}" --robot.cameras.front.fps=50 --dataset.encoder.codec=copy
for name in coded coded-slow coded-copy; do
  grep -q '"as_encoded": [1-9]' "$work/$name"/recorder/episodes/*/*.json || {
    echo "test-lerobot: $name stores nothing as it came" >&2
    exit 1
  }
done

# At full speed every picture of the clips is in exactly one row.
if grep -rhE '"repeated": [1-9]' "$work"/{file,copy}/recorder/episodes; then
  echo "test-lerobot: rows of file cameras are repeated" >&2
  exit 1
fi

# On the fake driver: GPU encoders that die in the middle of an episode, and codecs that only a GPU makes. The fake encodes
# H.265 and AV1 slowly: small pictures, few of them.
cargo build --release --locked --package fake-nvidia
fake=$work/fake-driver
mkdir "$fake"
library=$(realpath "$target/release/libfake_nvidia.so")
for name in libcuda.so libcuda.so.1 libnvidia-encode.so.1; do ln -s "$library" "$fake/$name"; done
on_fake() { # FAULTS CONFIG NAME [OVERRIDE...]
  local faults=$1
  shift
  LD_LIBRARY_PATH=$fake FAKE_NVENC=$faults record "$@" "${files[@]}" \
    --dataset.gpu_video_encoding=true --limits.gpu_watchdog_ms=30000
}
on_fake fail=50:20 tests/py/file.toml death
grep -q '"from": "nvenc"' "$work"/death/recorder/episodes/*/*.json || { echo "test-lerobot: no encoder died" >&2; exit 1; }
for codec in hevc av1; do
  on_fake '' tests/py/file.toml "$codec" --dataset.encoder.codec=$codec --dataset.num_episodes=1 --dataset.episode_time_s=1
done

# Encoded anew, from each codec, and what is kept as it is.
for name in death hevc av1 copy; do
  cp -r "$work/$name" "$work/$name-to-h264"
  "$recorder" regenerate "$work/$name-to-h264" --cpu --quality 26
done
cp -r "$work/copy" "$work/copy-to-copy"
"$recorder" regenerate "$work/copy-to-copy" --codec copy

# What crashes leave, after recovery: killed in the middle of the second take, by way of encoding.
killed() { # NAME [OVERRIDE...]
  local name=$1 recorder_id code=0
  shift
  echo "test-lerobot: recording $name"
  "$recorder" --config examples/demo.toml --dataset.root="$work/$name" --metrics.listen= \
    --dataset.episode_time_s=3 --dataset.reset_time_s=0 "$@" &
  recorder_id=$!
  until [ -n "$(find "$work/$name/.partial" -path '*-take_000001/*' -size +100k 2>/dev/null)" ]; do
    kill -0 "$recorder_id"
    sleep 0.05
  done
  kill -9 "$recorder_id"
  wait "$recorder_id" || true
  "$recorder" recover "$work/$name" || code=$?
  [ "$code" -eq 0 ] || [ "$code" -eq 3 ]
  if [ -n "$(find "$work/$name/.partial" -name waiting.json 2>/dev/null)" ]; then "$recorder" regenerate "$work/$name"; fi
  "$recorder" verify "$work/$name" --deep
}
killed killed-h264
killed killed-copy --dataset.encoder.codec=copy
killed killed-kept --dataset.streaming_encoding=false
# Killed and without power in the middle of a take and of a save, as the model of tests/power_loss.rs has it.
RECORDER_CRASH_SETS=$work/crashes cargo test --release --locked --test power_loss data_sets_to_load -- --ignored --nocapture
# Episodes deleted and labelled, of ours and of LeRobot's own, whose episodes share their files; and recording goes on.
cp -r "$work/file" "$work/deleted"
"$recorder" episodes "$work/deleted" delete 0 2
"$recorder" episodes "$work/deleted" label 0 success
"$recorder" episodes "$work/deleted" export-labels
record tests/py/file.toml deleted "${files[@]}" --dataset.resume=true --dataset.num_episodes=1
for n in 0 1; do
  cp -r tests/data/lerobot-v3-sample "$work/deleted-lerobots-$n"
  "$recorder" episodes "$work/deleted-lerobots-$n" delete $n
  "$recorder" episodes "$work/deleted-lerobots-$n" export-labels
done

passed=0
failed=0
hold() { # COMMAND...
  if "$env/bin/python" "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
for name in demo file copy coded coded-slow coded-copy death hevc av1 {death,hevc,av1,copy}-to-h264 copy-to-copy; do
  hold tests/py/check_lerobot.py "$work/$name"
done
for root in "$work"/killed-* "$work"/crashes/*; do
  hold tests/py/check_lerobot.py "$root"
done
hold tests/py/check_lerobot.py "$work/deleted"
for n in 0 1; do hold tests/py/check_lerobot.py "$work/deleted-lerobots-$n" --cut; done

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

# LeRobot's own follower, leader and record loop on the simulated arms.
hold tests/py/arm_lerobot.py "$recorder" "$work/arms"
echo "test-lerobot: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
