# The kernel's virtual cameras: raw pictures of colour bars with the frame's number, one camera for each format.
scenario_vivid() {
  local cameras=(yuyv nv12 grey padded_yuyv padded_nv12) pad=64 k node
  modprobe vivid n_devs=${#cameras[@]} node_types=0x1,0x1,0x1,0x1,0x1 num_inputs=1,1,1,1,1 input_types=0,0,0,0,0
  udevadm settle --timeout=300
  mkdir /dev/vivid
  for k in "${!cameras[@]}"; do
    node=$(grep -lx "vivid-00$k-vid-cap" /sys/class/video4linux/*/name)
    node=/dev/$(basename "${node%/name}")
    ln -s "$node" /dev/vivid/"${cameras[k]}"
    echo "${cameras[k]} $(stat -c %Lr "$node") 0 0" >>devices.txt
    # Of what it writes into the picture only the counters; and time stamps that are not in the future.
    v4l2-ctl -d "$node" --set-ctrl osd_text_mode=1,timestamp_source=1
    [[ ${cameras[k]} != padded_* ]] || pad+=:$node
  done
  local config=vivid.toml
  PAD=$pad LD_PRELOAD=$PWD/pad.so record vivid
  finish
  has_rows padded_yuyv $((640 + 64))
  has_rows padded_nv12 $((320 + 64))
}

has_rows() { # CAMERA BYTES
  v4l2-ctl -d /dev/vivid/"$1" --get-fmt-video >format.txt
  grep -q "Bytes per Line *: $2\$" format.txt || { cat format.txt >&2; fail "rows of $1 are not of $2 bytes"; }
}
