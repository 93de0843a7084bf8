#!/bin/bash
# vmrun.sh - run a command in a throw-away virtual machine that has a stock Debian
# kernel, this machine's own files, and (simulated) USB cameras and serial ports.
#
#   vmrun.sh DIRECTORY COMMAND [ARGUMENT...]
#
# The machine boots a Debian kernel under QEMU.  Its root is this machine's root,
# read-only, with a temporary layer for what is written; /tmp, /run and /dev are
# new and empty.  DIRECTORY is shared read-write and sits at the same path inside;
# COMMAND starts there, as root.  What COMMAND writes on stdout and stderr comes
# out on stdout, and its exit status is vmrun's.  Nothing else is kept.
#   125: the machine did not start or died (the end of its console is on stderr)
#   124: VM_TIMEOUT ran out
#
# Packages: qemu-system-x86 busybox-static cpio kmod xz-utils python3
#   apt-get install --no-install-recommends qemu-system-x86 seabios busybox-static cpio kmod
# The kernel package (linux-image-amd64's dependency) is downloaded with apt-get
# download and unpacked under VM_CACHE on first use; it is not installed.
#
# Inside, uvcvideo, cdc_acm and vhci_hcd are loaded; see fakeusb/fakeusb.c for the cameras
# and serial ports.  Any other module of the kernel: modprobe it (vivid, dummy_hcd,
# libcomposite, gadgetfs, cp210x, ch341, ftdi_sio, ...).
#
# Environment:
#   VM_ACCEL    auto (default), kvm, tcg.  auto takes KVM only with hardware behind it
#   VM_CPUS     default 1 with tcg (a second one makes latency worse), all with kvm
#   VM_MEM      MiB, default 2048 (half of it is /tmp's limit)
#   VM_TIMEOUT  seconds of wall clock, default 600
#   VM_MODULES  modules to load, default "uvcvideo cdc_acm vhci_hcd"
#   VM_UDEV=1   run udev inside, so that /dev/v4l/by-id and /dev/serial/by-id exist
#               (adds about 5 s under tcg); its package too is only unpacked
#   VM_KERNEL_PKG  e.g. linux-image-6.12.117+deb12-amd64; default the newest one in
#               the cache, else what linux-image-amd64 depends on
#   VM_CACHE    default ~/.cache/recorder/vm (or under XDG_CACHE_HOME)
#   VM_APPEND   more kernel parameters;  VM_CPU  the tcg processor model (max)
#   VM_LOG, VM_DMESG  files to keep the console and the kernel's log in
#   VM_VERBOSE=1  say accelerator and boot time on stderr

set -u
die() { echo "vmrun: $*" >&2; exit 125; }
[ $# -ge 2 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2; exit 125; }
share=$(realpath -e "$1") || die "no such directory: $1"; shift

cache=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recorder/vm}
pkg=${VM_KERNEL_PKG:-}
mem=${VM_MEM:-2048}
limit=${VM_TIMEOUT:-600}
modules=${VM_MODULES-uvcvideo cdc_acm vhci_hcd}
accel=${VM_ACCEL:-auto}
qemu=${VM_QEMU:-qemu-system-x86_64}

for t in "$qemu" busybox cpio depmod modprobe dpkg-deb xz; do
  command -v "$t" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$t" >/dev/null ||
    die "$t is missing: apt-get install --no-install-recommends qemu-system-x86 seabios busybox-static cpio kmod xz-utils"
done
PATH=$PATH:/usr/sbin:/sbin
bb=$(command -v busybox)
! ldd "$bb" >/dev/null 2>&1 || die "busybox must be static: apt-get install busybox-static"

# Package lists may be missing (a fresh container) or name a version that has since been replaced.
update_lists() { [ "$(id -u)" = 0 ] && { echo "vmrun: apt-get update" >&2; apt-get update -q >/dev/null; }; }
newest_kernel() { apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -1; }
# download PACKAGE DIRECTORY
download() { (cd "$2" && apt-get download -q "$1" >/dev/null 2>"$2/err") || { cat "$2/err" >&2; return 1; }; }

# ---- 1. kernel: download and unpack once -------------------------------------
prepare_kernel() {
  local d deb vz
  mkdir -p "$cache" || die "cannot create $cache"
  if [ -z "$pkg" ]; then
    pkg=$(ls -d "$cache"/linux-image-*/ready 2>/dev/null | sort -V | tail -1)
    pkg=$(basename "$(dirname "$pkg")" 2>/dev/null)
    case $pkg in linux-image-*) ;; *)
      pkg=$(newest_kernel)
      [ -n "$pkg" ] || { update_lists && pkg=$(newest_kernel); } ;;
    esac
  fi
  [ -n "$pkg" ] || die "no kernel package linux-image-amd64 known to apt: this needs Debian; apt-get update, or set VM_KERNEL_PKG"
  kdir=$cache/$pkg
  [ -e "$kdir/ready" ] && return
  echo "vmrun: preparing $pkg (once)" >&2
  d=$(mktemp -d "$cache/tmp.XXXXXX") || die mktemp
  download "$pkg" "$d" || { update_lists && pkg=$(newest_kernel) && kdir=$cache/$pkg && download "$pkg" "$d"; } ||
    die "apt-get download $pkg failed"
  deb=$(ls "$d"/*.deb)
  mkdir "$d/k"
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$d/k" --wildcards \
    --exclude='*/drivers/gpu' --exclude='*/drivers/scsi' --exclude='*/drivers/infiniband' \
    --exclude='*/drivers/net/ethernet' --exclude='*/drivers/net/wireless' --exclude='*/sound' \
    './boot/vmlinuz-*' './boot/config-*' './lib/modules/*' './usr/lib/modules/*' 2>/dev/null
  [ -d "$d/k/lib/modules" ] || { mkdir -p "$d/k/lib"; ln -s ../usr/lib/modules "$d/k/lib/modules"; }
  ver=$(ls "$d/k/lib/modules") ; depmod -b "$d/k" "$ver" || die depmod
  # The plain ELF is booted through PVH: no decompressor to emulate (saves 5 s under TCG).
  vz=$d/k/boot/vmlinuz-$ver
  python3 - "$vz" "$d/k/vmlinux" <<'PY' || cp "$vz" "$d/k/vmlinux"
import lzma, sys, zlib, subprocess
d = open(sys.argv[1], 'rb').read()
for magic, f in ((b'\xfd7zXZ\0', lambda b: lzma.LZMADecompressor().decompress(b)),
                 (b'\x28\xb5\x2f\xfd', lambda b: subprocess.run(['zstd', '-dqc'], input=b, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)):
    i = d.find(magic)
    while i >= 0:
        try: o = f(d[i:])
        except Exception: o = b''
        if o[:4] == b'\x7fELF':
            open(sys.argv[2], 'wb').write(o); sys.exit(0)
        i = d.find(magic, i + 1)
sys.exit(1)
PY
  make_initrd "$d/k" "$ver"
  touch "$d/k/ready"
  rm -rf "$kdir"; mv "$d/k" "$kdir" && rm -rf "$d"
}

# ---- 2. initramfs: busybox + the modules needed to mount the host's root over 9p
make_initrd() {
  local k=$1 v=$2 r=$1/ir m
  mkdir -p "$r/bin" "$r/mod"; cp "$bb" "$r/bin/busybox"; : >"$r/mod/order"
  for m in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
    modprobe -d "$k" -S "$v" --show-depends "$m" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!s[$0]++' | while read -r m; do
    case $m in
      *.xz) xz -dc "$m" >"$r/mod/$(basename "${m%.xz}")" ;;
      *)    cp "$m" "$r/mod/" ;;
    esac
    basename "${m%.xz}" >>"$r/mod/order"
  done
  cat >"$r/init" <<'INIT'
#!/bin/busybox sh
# Runs as process 1 of the virtual machine.
b=/bin/busybox
$b mkdir -p /proc /sys /dev /host /ctl /rw /new
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
while read -r m; do $b insmod /mod/$m || echo "vmrun: insmod $m failed"; done </mod/order
o=trans=virtio,version=9p2000.L,msize=262144
$b mount -t 9p -o $o,cache=loose,ro hostroot /host || echo "vmrun: no host root"
$b mount -t 9p -o $o,cache=none ctl /ctl || echo "vmrun: no ctl"
. /ctl/conf
$b mount -t tmpfs -o size=90% rw /rw; $b mkdir /rw/up /rw/work
$b mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work root /new || echo "vmrun: no overlay"
cd /new
for d in proc sys dev run tmp; do $b mkdir -p /new/$d; done
$b mount --move /proc proc; $b mount --move /sys sys; $b mount --move /dev dev
$b mount -t tmpfs -o mode=755 run run; $b mount -t tmpfs -o mode=1777,size=75% tmp tmp
$b mkdir -p dev/pts dev/shm
$b mount -t devpts -o mode=620,ptmxmode=666 pts dev/pts; $b mount -t tmpfs -o mode=1777 shm dev/shm
$b mkdir -p lib/modules; $b mount --bind "/host$KDIR/lib/modules" lib/modules
$b mkdir -p run/vmrun/bin run/vmrun/ctl "/new$SHARE"
$b mount --move /ctl run/vmrun/ctl
$b mount -t 9p -o $o,cache=mmap share "/new$SHARE" || echo "vmrun: no share"
$b cp /bin/busybox run/vmrun/bin/busybox
for a in modprobe insmod rmmod lsmod ip mount umount; do $b ln -s busybox run/vmrun/bin/$a; done
if [ -n "$UDEV" ]; then
  (cd "/host$UDEV" && for d in bin sbin lib usr etc; do [ -d $d ] && $b mkdir -p /new/$d && $b cp -a $d/. /new/$d/; done)
fi
exec $b chroot /new /run/vmrun/bin/busybox sh /run/vmrun/ctl/stage2
INIT
  chmod 755 "$r/init"
  (cd "$r" && find . | cpio -o -H newc --quiet) >"$k/initrd" || die cpio
  rm -rf "$r"
}

prepare_kernel

udev=
if [ -n "${VM_UDEV:-}" ]; then
  udev=$cache/udev
  if [ ! -e "$udev/ready" ]; then
    d=$(mktemp -d "$cache/tmp.XXXXXX") || die mktemp
    download udev "$d" || { update_lists && download udev "$d"; } || die "apt-get download udev failed"
    mkdir "$d/u"; dpkg-deb -x "$d"/udev_*.deb "$d/u" || die "unpacking udev"
    rm -rf "$d/u/usr/share" "$d"/u/lib/udev/hwdb* "$d"/u/usr/lib/udev/hwdb*
    touch "$d/u/ready"; rm -rf "$udev"; mv "$d/u" "$udev" && rm -rf "$d"
  fi
fi

# ---- 3. accelerator ------------------------------------------------------------
# KVM is used only where the processor's own virtualization backs it; a software
# KVM (kvm_pvm) runs an unmodified kernel more slowly than TCG does.
if [ "$accel" = auto ]; then
  accel=tcg
  if [ -w /dev/kvm ] && [ ! -e /sys/module/kvm_pvm ] &&
     grep -qwE 'vmx|svm' /proc/cpuinfo; then accel=kvm; fi
fi
case $accel in
  kvm) acc=(-accel kvm -cpu host); cpus=${VM_CPUS:-$(nproc)} ;;
  tcg) acc=(-accel tcg,thread=multi,tb-size=512 -cpu "${VM_CPU:-max}"); cpus=${VM_CPUS:-1} ;;
  *) die "VM_ACCEL: kvm, tcg or auto" ;;
esac

# ---- 4. what runs inside -------------------------------------------------------
ctl=$(mktemp -d "${TMPDIR:-/tmp}/vmrun.XXXXXX") || die mktemp
log=${VM_LOG:-$ctl/console.log}
trap 'rm -rf "$ctl"' EXIT
printf 'KDIR=%q\nSHARE=%q\nUDEV=%q\n' "$kdir" "$share" "$udev" >"$ctl/conf"
{ printf 'cd %q\n' "$share"; printf '%q ' "$@"; echo; } >"$ctl/cmd"
cat >"$ctl/stage2" <<STAGE2
b=/run/vmrun/bin/busybox
export PATH=$(printf %q "$PATH"):/run/vmrun/bin HOME=$(printf %q "$HOME") TERM=dumb LANG=C.UTF-8
export VMRUN=1 VMRUN_ACCEL=$accel
\$b ip link set lo up
\$b hostname vmrun
if [ -n "$udev" ]; then
  /lib/systemd/systemd-udevd --daemon && udevadm trigger --action=add && udevadm settle
fi
for m in $modules; do modprobe \$m || echo "vmrun: modprobe \$m failed"; done
\$b mount -t configfs none /sys/kernel/config 2>/dev/null
\$b mount -t debugfs none /sys/kernel/debug 2>/dev/null
out=\$(\$b grep -ls '^vmrun\$' /sys/class/virtio-ports/*/name)
out=/dev/\$(\$b basename \$(\$b dirname \$out))
\$b cut -d' ' -f1 /proc/uptime >/run/vmrun/ctl/boot
${VM_SHELL:-/bin/bash} /run/vmrun/ctl/cmd </dev/null >\$out 2>&1
echo \$? >/run/vmrun/ctl/status
\$b sync
\$b dmesg >/run/vmrun/ctl/dmesg
\$b poweroff -f
STAGE2

mkfifo "$ctl/stdin"   # never at its end: QEMU closes the port when stdin ends
share9p() { echo "-fsdev local,id=$1,path=${2//,/,,},security_model=none,multidevs=remap$3 -device virtio-9p-pci,fsdev=$1,mount_tag=$1"; }
# shellcheck disable=SC2046
timeout --foreground -k 5 "$limit" "$qemu" -M q35 "${acc[@]}" -m "$mem" -smp "$cpus" \
  -nodefaults -no-user-config -display none -no-reboot \
  -kernel "$kdir/vmlinux" -initrd "$kdir/initrd" \
  -append "console=ttyS0 panic=-1 quiet tsc=reliable random.trust_cpu=on mitigations=off apparmor=0 selinux=0 edd=off usbcore.autosuspend=-1 ${VM_APPEND:-}" \
  -serial "file:$log" -device virtio-rng-pci \
  -device virtio-serial-pci -chardev stdio,id=out,signal=off -device virtserialport,chardev=out,name=vmrun \
  $(share9p hostroot / ,readonly=on) $(share9p ctl "$ctl" "") $(share9p share "$share" "") \
  <>"$ctl/stdin"
q=$?
[ -n "${VM_DMESG:-}" ] && cp "$ctl/dmesg" "$VM_DMESG" 2>/dev/null
[ -n "${VM_VERBOSE:-}" ] && echo "vmrun: accel=$accel boot=$(cat "$ctl/boot" 2>/dev/null)s qemu=$q" >&2
if [ -e "$ctl/status" ]; then exit "$(cat "$ctl/status")"; fi
echo "vmrun: no result (qemu exit $q); end of the console:" >&2
tail -60 "$log" >&2
[ $q = 124 ] && exit 124
exit 125
