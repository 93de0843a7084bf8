# Both cameras are unplugged in the middle of an episode and plugged in again in the other order: each comes back under
# the number that the other one had. Front is configured by its stable name, wrist by its number.
scenario_unplug() {
  local numbers wrist
  numbers=$(readlink "$(link_of front)" "$(link_of wrist)")
  wrist=$(readlink "$(link_of wrist)")
  record unplug --robot.cameras.wrist.index_or_path="${wrist##*video}"
  more wrist 15
  usb unplug front
  usb unplug wrist
  told device_lost 'camera front'
  told device_lost 'camera wrist'
  until_true "the links are gone" no_links
  usb plug wrist
  await_link wrist
  usb plug front
  await_link front
  [ "$numbers" != "$(readlink "$(link_of front)" "$(link_of wrist)")" ] || fail "the nodes have their old numbers"
  told device_back 'camera front'
  told device_back 'camera wrist'
  more wrist 15
  interrupt
}

no_links() { no_link front && no_link wrist; }
