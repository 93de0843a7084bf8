#!/bin/bash
# Installs the packages that this project needs and that are missing (Debian 12 and later, Ubuntu 22.04 and later).
#
#   scripts/setup.sh           what building and running needs
#   scripts/setup.sh --test    also what the tests need, a Prometheus under target/ included
#
# Says what it installs; does nothing when all is there. Elsewhere it lists what to install by other means.
set -euo pipefail
cd "$(dirname "$0")/.."

# g++ and nasm: openh264. cmake and nasm: libjpeg-turbo. libclang: the bindings of the kernel's V4L2 header.
packages=(ca-certificates cmake g++ gcc git libc6-dev libclang-dev make nasm)
case ${1-} in
  '') ;;
  --test)
    # A virtual machine with simulated USB devices, clips to record, a reader of what was recorded, and networks to ask from.
    packages+=(busybox-static cpio ffmpeg iproute2 kmod python3 python3-venv qemu-system-x86 seabios v4l-utils xz-utils)
    ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' scripts/setup.sh >&2; exit 2 ;;
esac

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

if command -v apt-get >/dev/null; then
  missing=()
  for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
  if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null || {
        echo "setup: not root, and sudo is missing. As root: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
      }
      as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q || echo "setup: apt-get update had errors; going on with the package lists at hand" >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"
  fi
else
  echo "setup: no apt-get here; nothing is installed. Make sure that these are there: ${packages[*]}" >&2
fi

if ! cargo --version >/dev/null 2>&1; then
  if command -v rustup >/dev/null; then
    echo "setup: rustup has no toolchain: rustup default stable" >&2
  else
    echo "setup: cargo is missing. Install Rust as https://rustup.rs says:" >&2
    echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
  fi
  exit 1
fi
if [ "${1-}" = --test ]; then
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    case $component in fmt) component=rustfmt ;; esac
    echo "setup: cargo's $component is missing: rustup component add $component" >&2
    exit 1
  done
  scripts/prometheus.sh >/dev/null
fi
