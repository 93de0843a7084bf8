# The follower's bus is unplugged and plugged in again in the middle of an episode.
scenario_bus() {
  need_servos
  local config=record.toml
  record bus --dataset.num_episodes=1 --dataset.episode_time_s=600
  until_true "the arm is read" has_read $(($(reads) + 15))
  usb unplug follower
  told device_lost 'the arm'
  usb plug follower
  told device_back 'the arm'
  until_true "the arm is read again" has_read $(($(reads) + 15))
  interrupt
}

reads() { grep -c '^follower read' servos.txt || true; }
has_read() { [ "$(reads)" -ge "$1" ]; }
