# What `recorder devices` says of all that is plugged in, and pictures of it.
scenario_devices() {
  need_side
  need_servos
  ./recorder devices >devices.table
  cat devices.table
  use_elsewhere front
  ./recorder devices --json --ask none >busy.json
  stop_elsewhere
  ./recorder devices --json --snapshot snapshots >devices.json
}
