#!/bin/bash
# Records through the kernel's own uvcvideo and cdc_acm drivers, in a virtual machine with simulated USB devices, and
# checks that every row holds the newest frame of its tick. Needs no hardware and no rights; see vmrun.sh and fakeusb.c.
#
#   tests/vm/run.sh      after cargo build --release; everything is left in target/vm
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
here=$(realpath tests/vm)
python=${RECORDER_PYTHON:-$(scripts/venv.sh)}

rm -rf "$target/vm"
mkdir -p "$target/vm"
box=$(realpath "$target/vm")

# The box is all that the virtual machine surely sees of this machine: it has a /tmp of its own.
cp "$target/release/recorder" "$box/recorder"
# The tests of src/camera/v4l.rs that need a camera.
cargo test --release --locked --no-run --test camera_v4l --message-format=json-render-diagnostics |
  "$python" -c 'import json, sys
built = (json.loads(line) for line in sys.stdin)
print([b["executable"] for b in built if b.get("target", {}).get("name") == "camera_v4l" and b.get("executable")][-1])' |
  xargs -I{} cp {} "$box/camera_v4l"
cp -r "$here/calibration" "$here/guest.sh" "$here/record.toml" "$here/servo_sim.py" "$box/"
cc -O2 -Wall -static -o "$box/fakeusb" "$here/fakeusb.c"
clip() { # NAME FILTER
  ffmpeg -v error -f lavfi -i "testsrc2=size=320x240:rate=30,$2" -frames:v 47 -c:v mjpeg -q:v 4 -pix_fmt yuvj422p \
    -f image2pipe "$box/$1.mjpeg"
}
clip front null
clip wrist hue=h=180

VM_UDEV=1 VM_VERBOSE=1 VM_TIMEOUT=${VM_TIMEOUT:-1500} VM_LOG=$box/console.log VM_DMESG=$box/dmesg.log \
  "$here/vmrun.sh" "$box" bash guest.sh

for name in copy h264 unplugged; do
  "$python" tests/py/check_dataset.py "$box/$name"
done
"$python" "$here/verify.py" "$box"
