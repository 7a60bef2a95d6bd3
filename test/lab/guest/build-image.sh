#!/bin/bash
# build-image.sh OUT.qcow2: a small bootable disk (BIOS) out of Debian's cloud kernel, busybox and qemu-guest-agent, with a
# raw second partition that its writer uses. Built without mounts and loop devices in about 3 s; kept in build/lab under
# the versions of what it is made of.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
guest=$lab_home/guest kernel=$cache/kernel-cloud
[[ -e $kernel/done ]] || "$lab_home/setup.sh" fast
release=$(ls "$kernel/lib/modules")
modules=(virtio_pci virtio_blk virtio_net virtio_console virtio_balloon virtio-rng virtio_scsi sd_mod button evdev)

key=$( (dpkg-query -W busybox-static qemu-guest-agent syslinux-common; cat "$kernel/done" "$guest"/*) | sha256sum | cut -c1-16)
image=$cache/guest-$key.qcow2

fill_root() {
  local root=$1 module library
  mkdir -p "$root"/{bin,etc,root,sbin,lib/x86_64-linux-gnu,"lib/modules/$release"}
  ln -s lib "$root/lib64"
  install -m 755 /bin/busybox "$root/bin/"
  install -m 755 "$guest/init" "$root/init"
  install -m 755 "$guest/shutdown" "$root/sbin/shutdown"
  install -m 755 "$guest/udhcpc" "$root/etc/udhcpc"
  gcc -static -O2 -o "$root/bin/writer" "$guest/writer.c"
  gcc -static -O2 -o "$root/bin/filler" "$guest/filler.c"
  strip "$root/bin/writer" "$root/bin/filler"
  printf '%s\n' "${modules[@]}" >"$root/etc/modules"
  printf 'root:x:0:0::/root:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\n' >"$root/etc/group"
  printf 'ID=drover-lab\nNAME="Drover lab guest"\nPRETTY_NAME="Drover lab guest 1"\nVERSION_ID=1\n' >"$root/etc/os-release"

  cp "$kernel/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$release/"
  for module in "${modules[@]}"; do modprobe -d "$kernel" -S "$release" --show-depends "$module" 2>/dev/null || true; done |
    awk '$1 == "insmod" { print $2 }' | sort -u |
    while read -r module; do install -D -m 644 "$module" "$root/${module#"$kernel"}"; done
  depmod -b "$root" "$release"

  cp /usr/sbin/qemu-ga "$root/bin/"
  ldd /usr/sbin/qemu-ga | awk '/=>/ { print $3 } /ld-linux/ { print $1 }' |
    while read -r library; do cp "$library" "$root/lib/"; done
  (cd "$root/lib/x86_64-linux-gnu" && ln -s ../*.so* .)
}

build() {
  local work disk start=2048 boot_sectors=40960 data_sectors=65536
  work=$(mktemp -d "$cache/guest.XXXXXX")
  trap "rm -rf '$work'" EXIT
  fill_root "$work/root"
  (cd "$work/root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -6) >"$work/initrd.gz"
  printf '%s\n' 'DEFAULT guest' 'PROMPT 0' 'TIMEOUT 0' 'LABEL guest' '  KERNEL vmlinuz' '  INITRD initrd.gz' \
    '  APPEND console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on' >"$work/syslinux.cfg"

  disk=$work/disk.img
  truncate -s $(((start + boot_sectors + data_sectors) * 512)) "$disk"
  sfdisk -q "$disk" <<END
label: dos
label-id: 0x64726f76
start=$start, size=$boot_sectors, type=6, bootable
start=$((start + boot_sectors)), size=$data_sectors, type=da
END
  dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
  export MTOOLS_SKIP_CHECK=1
  mformat -i "$disk@@$((start * 512))" -T $boot_sectors -h 16 -s 63 -H $start ::
  mcopy -i "$disk@@$((start * 512))" "$kernel"/boot/vmlinuz-* ::vmlinuz
  mcopy -i "$disk@@$((start * 512))" "$work/initrd.gz" "$work/syslinux.cfg" ::
  syslinux -t $((start * 512)) -i "$disk"
  qemu-img convert -f raw -O qcow2 "$disk" "$work/guest.qcow2"
  mv "$work/guest.qcow2" "$image"
}

exec 8>"$cache/guest.lock"
flock -w 300 8
[[ -e $image ]] || { rm -f "$cache"/guest-*.qcow2; build; }
cp --sparse=always "$image" "$1"
