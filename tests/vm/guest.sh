#!/bin/bash
# The part of run.sh inside the virtual machine: plugs the devices in, records, and leaves everything in the box.
#
#   guest.sh     in the box, where run.sh has put all that is needed
set -euo pipefail

./fakeusb -c /tmp/control -p pictures.txt \
  cam:front,320x240=front.mjpeg cam:wrist,fps=20,320x240=wrist.mjpeg \
  acm:follower,pty=/tmp/follower acm:leader,pty=/tmp/leader </dev/null >fakeusb.log &
fakeusb=$!
devices=(
  /dev/v4l/by-id/usb-fakeusb_USB_Camera_{front,wrist}-video-index0
  /dev/serial/by-id/usb-fakeusb_USB_Single_Serial_{follower,leader}-if00
)
for device in "${devices[@]}"; do
  for ((i = 0; i < 1800; i++)); do
    [ -e "$device" ] && break
    kill -0 $fakeusb || { cat fakeusb.log >&2; exit 1; }
    sleep 0.1
  done
  [ -e "$device" ] || { echo "guest: $device did not appear in 180 s" >&2; exit 1; }
done
udevadm settle --timeout=300

# The kernel's own list of the frames that it handed over, with its time stamps.
trace=/sys/kernel/debug/tracing
echo 1 >$trace/events/v4l2/v4l2_dqbuf/enable
for camera in front wrist; do
  echo "$camera $(stat -L -c %Lr /dev/v4l/by-id/usb-fakeusb_USB_Camera_$camera-video-index0)"
done >minors.txt

echo "guest: the tests that need a camera"
front=/dev/v4l/by-id/usb-fakeusb_USB_Camera_front-video-index0
export RECORDER_TEST_CAMERA=$front:MJPG:320x240
./camera_v4l --ignored --exact a_real_camera_delivers_and_refuses

coproc servos { exec python3 servo_sim.py calibration servos.txt /tmp/follower /tmp/leader 2>servos.log; }
read -r ready <&"${servos[0]}" || { cat servos.log >&2; exit 1; }
echo "guest: the servos are $ready"

echo "guest: check"
./recorder check --config record.toml

echo "guest: check refuses a size that the camera does not have, and says which it has"
if ./recorder check --config record.toml --robot.cameras.front.width=1920 >refused.log 2>&1; then
  echo "guest: it was not refused" >&2
  exit 1
fi
cat refused.log
grep -q 320x240 refused.log

echo "guest: recording with codec = copy"
./recorder --config record.toml
echo "guest: recording with codec = h264"
./recorder --config record.toml --dataset.root=h264 --dataset.num_episodes=2 --dataset.encoder.codec=h264

echo "guest: recording while the follower's bus is unplugged and plugged in again, in the middle of an episode"
./recorder --config record.toml --dataset.root=unplugged --dataset.num_episodes=1 --dataset.episode_time_s=600 \
  >unplugged.log 2>&1 &
recording=$!
until_true() { # WHAT COMMAND...
  local what=$1
  shift
  for ((i = 0; i < 3000; i++)); do
    "$@" && return
    kill -0 $recording || break
    sleep 0.1
  done
  cat unplugged.log >&2
  echo "guest: $what: not in 300 s" >&2
  exit 1
}
reads() { grep -c '^follower read' servos.txt; }
has_read() { [ "$(reads)" -ge "$1" ]; }
until_true "the episode has begun" grep -q 'recording episode' unplugged.log
until_true "the arm is read" has_read $(($(reads) + 15))
echo unplug follower >/tmp/control
until_true "the loss is noticed" grep -q 'lost the arm' unplugged.log
echo plug follower >/tmp/control
until_true "the arm is back" grep -q 'the arm is back' unplugged.log
until_true "the arm is read again" has_read $(($(reads) + 15))
code=0
kill -INT $recording
wait $recording || code=$?
grep -v ' INFO ' unplugged.log || true
[ $code -eq 130 ] || { cat unplugged.log >&2; echo "guest: exit code $code, expected 130" >&2; exit 1; }

kill -0 "$servos_PID" || { cat servos.log >&2; exit 1; }
kill "$servos_PID"
sed -n 's/.*v4l2_dqbuf: minor = \([0-9]*\),.* timestamp = \([0-9]*\),.*/\1 \2/p' $trace/trace >frames.txt
echo stat >/tmp/control
RECORDER_TEST_UNPLUG='echo unplug front >/tmp/control' ./camera_v4l --ignored --exact an_unplugged_camera_is_lost_and_then_absent
echo quit >/tmp/control
wait $fakeusb
grep ^stat fakeusb.log
