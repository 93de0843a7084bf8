# The kernel's virtual camera: raw pictures of colour bars with the frame's number, one camera for each format.
scenario_vivid() {
  local cameras=(yuyv) k link
  modprobe vivid n_devs=${#cameras[@]} node_types=0x1,0x1,0x1,0x1,0x1 num_inputs=1,1,1,1,1 input_types=0,0,0,0,0
  for k in "${!cameras[@]}"; do
    link=/dev/v4l/by-path/platform-vivid.$k-video-index0
    until_true "$link" test -e $link
    echo "${cameras[k]} $(stat -L -c %Lr $link) 0 $(stat -c %.9Y $link)" >>devices.txt
    # Of what it writes into the picture only the counters; and time stamps that are not in the future.
    v4l2-ctl -d $link --set-ctrl osd_text_mode=1,timestamp_source=1
  done
  local config=vivid.toml
  record vivid
  finish
}
