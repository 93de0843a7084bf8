# What people run into with real cameras, told with what to do.
scenario_errors() {
  local front
  front=$(link_of front)
  ./recorder check --config cameras.toml --dataset.root=errors

  refused "a size that the camera does not have" 3 'nearest first' '320x240' \
    check --robot.cameras.front.width=1920
  refused "a format that the camera does not have" 3 'MJPG 320x240' \
    check --robot.cameras.front.fourcc=YUYV --dataset.encoder.codec=h264
  refused "a number that no camera has" 3 'camera front: /dev/video77 does not exist' "$front" \
    check --robot.cameras.front.index_or_path=77
  refused "the camera's second node, for metadata" 3 'is not a video capture device' \
    check --robot.cameras.front.index_or_path="${front%0}1"

  use_elsewhere front
  refused "a camera that another program has" 3 "in use by another program: v4l2-ctl (process $other)" check
  stop_elsewhere

  # Nobody may read the whole path to the box.
  mkdir -p /tmp/box
  mount --bind . /tmp/box
  (cd /tmp/box && as_user="setpriv --reuid=nobody --regid=nogroup --clear-groups" &&
    refused "a camera of another group" 3 "no permission to open $front" 'usermod -aG video' check)
  umount /tmp/box

  say "a camera that is unplugged between check and run"
  ./recorder check --config cameras.toml --dataset.root=errors
  usb unplug front
  until_true "front's link is gone" no_link front
  refused "an absent camera" 3 "camera front: $front does not exist" "$(link_of wrist)"
  [ ! -e errors ] || fail "a run without a camera leaves a data set"
  usb plug front
  await_link front
}

refused() { # WHAT CODE WORDS... COMMAND   WORDS are in what the recorder's COMMAND says
  local what=$1 expected=$2 code=0 words command
  shift 2
  command=() words=()
  while [ $# -gt 0 ]; do
    case $1 in check | --*) command+=("$1") ;; *) words+=("$1") ;; esac
    shift
  done
  ${as_user-} ./recorder "${command[@]}" --config cameras.toml --dataset.root=errors >refused.txt 2>&1 || code=$?
  say "$what: $(grep -E 'ERROR|rror:' refused.txt | head -3)"
  [ $code -eq "$expected" ] || { cat refused.txt >&2; fail "$what: exit code $code, expected $expected"; }
  for word in "${words[@]}"; do
    grep -qF -- "$word" refused.txt || { cat refused.txt >&2; fail "$what: it does not say '$word'"; }
  done
}
