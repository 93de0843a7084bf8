# Two cameras of different rates and two arms, as JPEGs and as H.264.
scenario_record() {
  need_servos
  say "check"
  patiently ./recorder check --config record.toml
  say "recording with codec = copy"
  patiently ./recorder --config record.toml
  say "recording with codec = h264"
  patiently ./recorder --config record.toml --dataset.root=h264 --dataset.num_episodes=1 --dataset.encoder.codec=h264
}
