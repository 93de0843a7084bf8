# `recorder init` without a person: its lab.toml is checked, and records as it stands.
scenario_init() {
  need_servos
  [ ! -e "$(link_of side)" ] || { usb unplug side && until_true "side's link is gone" no_link side; }
  # Which arm is which is told by LeRobot's calibration files.
  export HF_LEROBOT_CALIBRATION=$PWD/lerobot
  mkdir -p lerobot/robots/so_follower lerobot/teleoperators/so_leader
  cp calibration/follower.json lerobot/robots/so_follower/
  cp calibration/leader.json lerobot/teleoperators/so_leader/
  until_true "both arms are found" both_arms
  patiently ./recorder check --config lab.toml
  local config=lab.toml
  record init --dataset.num_episodes=1 --dataset.episode_time_s=2 --dataset.reset_time_s=0 --dataset.encoder.codec=copy
  finish
}

# A servo may be too late for the recorder on a machine that is slow: it is asked again.
both_arms() {
  ./recorder init --yes --force --output lab.toml
  [ "$(grep -c '^port = ' lab.toml)" -eq 2 ]
}
