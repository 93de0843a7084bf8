"""Resets a USB device, and says when: `python3 reset.py NODE NAME`, with NODE below /dev/bus/usb."""

import fcntl
import sys
import time

# _IO('U', 20), from linux/usbdevice_fs.h.
USBDEVFS_RESET = 0x5514

node, name = sys.argv[1:]
with open(node, "r+b", buffering=0) as device:
    at = time.monotonic_ns()
    fcntl.ioctl(device, USBDEVFS_RESET, 0)
print(f"{name} reset mono_ns={at}")
