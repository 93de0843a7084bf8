# A camera stays plugged in and sends nothing, is found out and opened again, in vain at first, and goes on.
scenario_freeze() {
  record freeze
  more front 15
  usb freeze front
  told device_lost 'camera front'
  usb thaw front
  told device_back 'camera front'
  more front 15
  interrupt
}
