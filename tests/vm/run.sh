#!/bin/bash
# Records through the kernel's own drivers (uvcvideo, cdc_acm, vivid) in a virtual machine with simulated devices, and
# checks against what the devices and the kernel say. Needs no hardware and no rights; see vmrun.sh and fakeusb/fakeusb.c.
#
#   tests/vm/run.sh [SCENARIO...]    after cargo build --release; everything is left in target/vm
#
# Scenarios are the files in scenarios/; without a name all of them. RECORDER_BINARY names another program to test;
# tests are then built in the profile of `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
here=$(realpath tests/vm)
python=${RECORDER_PYTHON:-$(scripts/venv.sh)}
every=(errors devices init record bus unplug freeze reset damage drift slow controls coded vivid camera)
[ $# -gt 0 ] || set -- "${every[@]}"
for scenario; do
  [ -e "$here/scenarios/$scenario.sh" ] || { echo "run.sh: no scenario $scenario; there are ${every[*]}" >&2; exit 2; }
done

rm -rf "$target/vm"
mkdir -p "$target/vm"
box=$(realpath "$target/vm")

# The box is all that the virtual machine surely sees of this machine: it has a /tmp of its own.
if [[ " $* " == *" camera "* ]]; then
  # The tests of src/camera/v4l.rs that need a camera.
  profile=(--release)
  [ -z "${RECORDER_BINARY-}" ] || profile=()
  cargo test "${profile[@]}" --locked --no-run --test camera_v4l --message-format=json-render-diagnostics |
    "$python" -c 'import json, sys
built = (json.loads(line) for line in sys.stdin)
print([b["executable"] for b in built if b.get("target", {}).get("name") == "camera_v4l" and b.get("executable")][-1])' |
    xargs -I{} cp {} "$box/camera_v4l"
fi
cp "${RECORDER_BINARY:-$target/release/recorder}" "$box/recorder"
cp -r "$here/calibration" "$here/config"/* "$here/guest.sh" "$here/scenarios" "$here/servo_sim.py" "$here/reset.py" "$box/"
cc -O2 -Wall -static -o "$box/fakeusb" "$here/fakeusb/fakeusb.c"
cc -O2 -Wall -shared -fPIC -o "$box/pad.so" "$here/pad.c" -ldl
clip() { # NAME FILTER
  ffmpeg -v error -f lavfi -i "testsrc2=size=320x240:rate=30,$2" -frames:v 47 -c:v mjpeg -q:v 4 -pix_fmt yuvj422p \
    -f image2pipe "$box/$1.mjpeg"
}
clip front null
clip wrist hue=h=180
ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=15 -frames:v 40 -c:v libx264 -profile:v baseline -threads 1 \
  -g 10 -bf 0 -x264-params repeat-headers=1:scenecut=0 -bsf:v h264_metadata=aud=insert -f h264 "$box/side.h264"

VM_UDEV=1 VM_VERBOSE=1 VM_TIMEOUT=${VM_TIMEOUT:-1500} VM_LOG=$box/console.log VM_DMESG=$box/dmesg.log \
  "$here/vmrun.sh" "$box" bash guest.sh "$@"
"$python" "$here/verify" "$box" "$@"
