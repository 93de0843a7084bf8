# A camera that encodes H.264 itself, one of whose pictures is damaged: those that build on it are lost with it.
scenario_coded() {
  need_side
  echo 0 >/sys/module/uvcvideo/parameters/nodrop
  local config=coded.toml
  record coded
  more side 20
  usb error side 1
  more side 30
  interrupt
}
