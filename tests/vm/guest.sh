#!/bin/bash
# The part of run.sh inside the virtual machine: plugs the devices in, plays the scenarios, and leaves everything in the box.
#
#   guest.sh SCENARIO...     in the box, where run.sh has put all that is needed
set -euo pipefail

say() { echo "guest: $*"; }
fail() { echo "guest: $*" >&2; exit 1; }

mkfifo /tmp/never
exec {never}<>/tmp/never
rest() { read -rt "$1" -u "$never" || true; } # SECONDS   without a process of its own: those are slow here
until_true() { # WHAT COMMAND...   waits for the command to succeed, as long as devices and recorder live
  local what=$1
  shift
  for ((i = 0; i < 600; i++)); do
    "$@" && return
    [ -z "$recording" ] || kill -0 $recording || break
    kill -0 $fakeusb || break
    rest 0.3
  done
  cat fakeusb.log ${log:+"$log"} >&2
  fail "$what: not in 180 s"
}

# Devices.
usb() { echo "$*" >/tmp/control; }
link_of() { echo "/dev/v4l/by-id/usb-fakeusb_USB_Camera_$1-video-index0"; }
no_link() { ! [ -e "$(link_of "$1")" ]; }
await_link() { # CAMERA   its node is there; devices.txt gets CAMERA MINOR, when it was plugged in or reset, and when its link came (UTC)
  local link plugged
  link=$(link_of "$1")
  until_true "$1's link" test -e "$link"
  plugged=$(cat fakeusb.log resets.txt | sed -En "s/^$1 (plugged|reset) mono_ns=//p" | sort -n | tail -1)
  echo "$1 $(stat -L -c %Lr "$link") $plugged $(stat -c %.9Y "$link")" >>devices.txt
}
need_side() { # the camera that encodes itself
  [ -e "$(link_of side)" ] || { usb plug side && await_link side; }
}
reset_port() { # CAMERA   its USB port is reset: the kernel's driver lets go of it, and takes it up again; resets.txt gets when
  local at
  at=$(realpath "/sys/class/video4linux/$(basename "$(readlink "$(link_of "$1")")")/device/..")
  python3 reset.py "/dev/bus/usb/$(printf '%03d/%03d' "$(<"$at/busnum")" "$(<"$at/devnum")")" "$1" >>resets.txt
  udevadm settle --timeout=300
}
other=
use_elsewhere() { # CAMERA   another program streams from it
  v4l2-ctl -d "$(link_of "$1")" --stream-mmap --stream-count=0 >elsewhere.log 2>&1 &
  other=$!
  # It says so itself: to ask the camera meanwhile could take it away.
  until_true "another program streams from $1" grep -q '<' elsewhere.log
}
stop_elsewhere() {
  kill $other
  wait $other || true
}
taken() { grep -c "^$1 .* taken" pictures.txt || true; }
has_taken() { [ "$(taken "$1")" -ge "$2" ]; }
more() { until_true "$2 more pictures of $1" has_taken "$1" $(($(taken "$1") + $2)); }

servos=
need_servos() { # servos.txt gets what they are asked and answer
  [ -z "$servos" ] || return 0
  local ready
  coproc sim { exec python3 servo_sim.py calibration servos.txt /tmp/follower /tmp/leader 2>servos.log; }
  servos=$sim_PID
  read -r ready <&"${sim[0]}" || { cat servos.log >&2; exit 1; }
  say "the servos are $ready"
}

patiently() { # COMMAND...   on a machine that is too slow for them, servos may answer too late to be opened
  for ((k = 0; k < 5; k++)); do
    "$@" && return
    say "once more: $1"
  done
  fail "$*"
}

# Recordings in the background. NAME.json gets the log, with every event.
record() { # NAME ARGUMENTS...   until the first episode has begun
  log=$1.log
  patiently begins "$@"
}
begins() {
  rm -f "$1.json"
  ./recorder --config "${config:-cameras.toml}" --dataset.root="$1" --log.file="$1.json" --log.format=json "${@:2}" \
    >"$log" 2>&1 &
  recording=$!
  for ((i = 0; i < 600; i++)); do
    grep -q 'recording episode' "$log" && return
    kill -0 $recording 2>/dev/null || break
    rest 0.3
  done
  kill $recording 2>/dev/null || true
  wait $recording || true
  recording=
  cat "$log" >&2
  return 1
}
told() { until_true "$*" grep -q "\"event\":\"$1\".*${2-}" "${log%.log}.json"; }
interrupt() { # the episode is saved
  kill -INT $recording
  finish 130
}
finish() { # [CODE]
  local code=0
  wait $recording || code=$?
  recording=
  grep -E ' (WARN|ERROR) ' "$log" || true
  [ $code -eq "${1-0}" ] || { cat "$log" >&2; fail "exit code $code, expected ${1-0}"; }
}

recording= log=
: >resets.txt
./fakeusb -c /tmp/control -p pictures.txt -s settings.txt \
  cam:front,fps=30/15,320x240=front.mjpeg cam:wrist,fps=20/10,320x240=wrist.mjpeg \
  cam:side,off,depth=8,fps=30/15,320x240=front.mjpeg,h264:320x240=side.h264 \
  acm:follower,pty=/tmp/follower acm:leader,pty=/tmp/leader </dev/null >fakeusb.log &
fakeusb=$!
for camera in front wrist; do await_link $camera; done
for arm in follower leader; do until_true "$arm's link" test -e "/dev/serial/by-id/usb-fakeusb_USB_Single_Serial_$arm-if00"; done
udevadm settle --timeout=300

# The kernel's own list of the frames that it handed over, with its time stamps.
trace=/sys/kernel/debug/tracing
echo 4096 >$trace/buffer_size_kb
echo 1 >$trace/events/v4l2/v4l2_dqbuf/enable

keep_frames() {
  sed -n 's/.*v4l2_dqbuf: minor = \([0-9]*\),.* flags = \([^,]*\),.* timestamp = \([0-9]*\),.* sequence = \([0-9]*\).*/\1 \3 \4 \2/p' \
    $trace/trace >frames.txt
}
trap keep_frames EXIT

for scenario; do
  say "=== $scenario"
  began=$SECONDS
  # shellcheck source=/dev/null
  . "scenarios/$scenario.sh"
  "scenario_$scenario"
  say "=== $scenario: $((SECONDS - began)) s"
done

[ -z "$servos" ] || kill "$servos" || { cat servos.log >&2; fail "the servos have ended"; }
grep -q '^overrun: 0$' $trace/per_cpu/cpu0/stats || fail "the kernel's trace is not whole"
usb stat
usb quit
wait $fakeusb
grep ^stat fakeusb.log
