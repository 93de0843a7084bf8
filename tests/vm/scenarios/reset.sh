# A camera's USB port is reset, as a kernel or a person does with a device that misbehaves.
scenario_reset() {
  record reset
  more front 15
  reset_port front
  await_link front
  told device_lost 'camera front'
  told device_back 'camera front'
  more front 15
  interrupt
}
