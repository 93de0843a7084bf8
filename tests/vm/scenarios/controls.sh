# Controls are set, held against another program, and set again after a reconnect.
scenario_controls() {
  local front changed
  front=$(link_of front)

  say "the camera has controls, and forgets what they are set to when it is unplugged"
  v4l2-ctl -d "$front" --list-ctrls >controls.txt
  for name in auto_exposure exposure_time_absolute focus_absolute focus_automatic_continuous gain power_line_frequency \
    white_balance_automatic white_balance_temperature; do
    grep -qw $name controls.txt || fail "the camera has no $name"
  done
  v4l2-ctl -d "$front" --set-ctrl gain=12
  is_set gain 12 || fail "gain is not kept"
  usb unplug front
  until_true "front's link is gone" no_link front
  usb plug front
  await_link front
  is_set gain 64 || fail "gain is kept by a camera that was unplugged"

  record controls --robot.cameras.front.exposure=200 --robot.cameras.front.gain=77 --robot.cameras.front.white_balance=4000 \
    --robot.cameras.front.focus=30 --robot.cameras.front.power_line_frequency=50
  more front 8
  is_set gain 77 || fail "gain is not set"
  v4l2-ctl -d "$front" --set-ctrl gain=10
  told control_changed
  until_true "gain is set again" is_set gain 77
  more front 8
  usb unplug front
  told device_lost 'camera front'
  until_true "front's link is gone" no_link front
  usb plug front
  await_link front
  told device_back 'camera front'
  more front 15
  interrupt
  # Later scenarios plug the camera in again.
  cp settings.txt controls.set
}

is_set() { [ "$(v4l2-ctl -d "$(link_of front)" --get-ctrl "$1")" = "$1: $2" ]; }
