# Cameras whose clock is 3 % off: too slow in the first episode, too fast in the second.
scenario_drift() {
  usb rate front 97
  usb rate wrist 97
  record drift --dataset.reset_time_s=1 --dataset.episode_time_s=6 --dataset.num_episodes=2
  told episode_saved
  usb rate front 103
  usb rate wrist 103
  finish
  usb rate all 100
}
