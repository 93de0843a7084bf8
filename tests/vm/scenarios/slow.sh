# Somebody gives a camera an exposure that is longer than a frame, and takes it back.
scenario_slow() {
  record slow
  more front 15
  v4l2-ctl -d "$(link_of front)" --set-ctrl auto_exposure=1,exposure_time_absolute=1000
  told camera_slow 'exposure is'
  v4l2-ctl -d "$(link_of front)" --set-ctrl exposure_time_absolute=157
  told camera_slow_over
  v4l2-ctl -d "$(link_of front)" --set-ctrl auto_exposure=3
  interrupt
}
