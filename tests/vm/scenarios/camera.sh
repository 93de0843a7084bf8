# The tests of src/camera/v4l.rs that need a camera.
scenario_camera() {
  RECORDER_TEST_CAMERA=$(link_of front):MJPG:320x240
  export RECORDER_TEST_CAMERA
  ./camera_v4l --ignored --exact a_real_camera_delivers_and_refuses
  RECORDER_TEST_UNPLUG='echo unplug front >/tmp/control' ./camera_v4l --ignored --exact an_unplugged_camera_is_lost_and_then_absent
  usb plug front
  await_link front
}
