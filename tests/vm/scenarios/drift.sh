# Cameras whose clock is 3 % off: too slow, then too fast.
scenario_drift() {
  local percent
  for percent in 97 103; do
    usb rate all $percent
    record drift$percent --dataset.episode_time_s=6
    finish
  done
  usb rate all 100
}
