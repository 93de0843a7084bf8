# What `recorder devices` says of all that is plugged in, and pictures of it.
scenario_devices() {
  need_side
  need_servos
  ./recorder devices >devices.table
  cat devices.table
  use_elsewhere front
  ./recorder devices --json --ask none >busy.json
  stop_elsewhere
  ./recorder devices --json --snapshot snapshots --ask none >snapshots.json
  until_true "every servo answers" all_answer
}

# A servo may be too late for the recorder on a machine that is slow: it is asked again.
all_answer() {
  ./recorder devices --json >devices.json
  [ "$(grep -o '"model"' devices.json | wc -l)" -eq 12 ]
}
