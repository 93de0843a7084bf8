#!/bin/bash
# Records the demo (examples/demo.toml) into data/demo, or data/demo-2 and so on where that exists, and says how to load it.
set -euo pipefail
cd "$(dirname "$0")/.."
recorder=${CARGO_TARGET_DIR:-target}/release/recorder

root=data/demo
for ((n = 2; ; n++)); do
  [ -e "$root" ] || break
  root=data/demo-$n
done

"$recorder" --config examples/demo.toml --dataset.root="$root" "$@"

cat <<EOF

The data set is in $PWD/$root ($(du -sh "$root" | cut -f1)). Where LeRobot is installed (pip install lerobot), load it with:

  from lerobot.datasets.lerobot_dataset import LeRobotDataset
  dataset = LeRobotDataset("local/demo", root="$PWD/$root")
  print(len(dataset), dataset[0]["observation.state"], dataset[0]["observation.images.front"].shape)
EOF
