# A camera that encodes H.264 itself, two of whose pictures are damaged: those that build on them are lost with them.
scenario_coded() {
  need_side
  echo 0 >/sys/module/uvcvideo/parameters/nodrop
  local config=coded.toml
  record coded
  more side 20
  usb error side 1
  more side 13
  usb error side 1
  more side 20
  interrupt
}
