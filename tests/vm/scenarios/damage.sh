# Pictures with UVC's error bit, cut off, and not sent at all. The kernel keeps the first kind from programs or hands them
# over marked, as its driver's parameter says, and that differs between kernels: front and wrist get one each.
scenario_damage() {
  replug front 0
  replug wrist 1
  record damage
  for kind in error truncate drop; do
    for camera in front wrist; do
      more $camera 8
      usb $kind $camera 3
    done
  done
  more wrist 12
  interrupt
}

replug() { # CAMERA NODROP
  echo "$2" >/sys/module/uvcvideo/parameters/nodrop
  usb unplug "$1"
  until_true "$1's link is gone" no_link "$1"
  usb plug "$1"
  await_link "$1"
}
