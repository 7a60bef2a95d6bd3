#!/bin/bash
# Virtual machines of the lab, with Debian's own kernel, under emulation. Their root is this machine's own, read-only by
# 9p, with a tmpfs over it: what is installed here is installed there, and nothing of it survives a power cut.
#
#   up NAME NUMBER [QEMU ARGUMENTS]   boot NAME at 10.77.x.NUMBER on the switch of the lab; returns at once
#   wait NAME [SECONDS]               until it takes commands (180); fails at once when the kernel panics
#   exec NAME COMMAND                 a shell command there, killed after $VM_TIMEOUT (60) seconds
#   off NAME | reset NAME             power cut | hard reset
#   pause NAME | cont NAME            the whole VM stands still | goes on
#   link NAME down|up                 the cable
#   disk NAME SIZE                    make or empty a disk image and print QEMU's arguments for it (serial: NAME)
#   list | console NAME | down
# What lies in the lab's files/over when a VM boots lies over its root.
# MEM (MiB, 1024) and CPUS (1) in the environment. LAB_NAME as for lab.sh.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
self=$lab_home/vm/vm.sh
vms=$lab/vm
command=${1:-help} name=${2:-}
shift $(($# > 2 ? 2 : $#))
folder=$vms/$name

kernel_folder=$cache/kernel-full
alive() { read_pid "$folder/pid" >/dev/null; }
qmp() { # COMMAND [ARGUMENTS AS JSON]
  printf '{"execute":"qmp_capabilities"}\n{"execute":"%s","arguments":%s}\n' "$1" "${2:-{\}}" |
    timeout 5 socat -t 1 - "UNIX-CONNECT:$folder/qmp" >/dev/null
}

initramfs() {
  local out=$cache/vm-initramfs.gz release work module
  release=$(ls "$kernel_folder/lib/modules")
  [[ ! $out -nt $lab_home/vm/initramfs-init || ! $out -nt $kernel_folder/done ]] || { echo "$out"; return; }
  work=$(mktemp -d)
  mkdir -p "$work"/{bin,"lib/modules/$release"}
  cp /bin/busybox "$work/bin/"
  install -m 755 "$lab_home/vm/initramfs-init" "$work/init"
  cp "$kernel_folder/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$work/lib/modules/$release/"
  printf '%s\n' virtio_pci virtio_blk virtio_net virtio_console virtio-rng overlay 9p 9pnet_virtio >"$work/modules"
  while read -r module; do modprobe -d "$kernel_folder" -S "$release" --show-depends "$module" 2>/dev/null || true; done \
    <"$work/modules" | awk '$1 == "insmod" { print $2 }' | sort -u |
    while read -r module; do install -D -m 644 "$module" "$work/${module#"$kernel_folder"}"; done
  depmod -b "$work" "$release"
  (cd "$work" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -4) >"$out.new"
  mv "$out.new" "$out"
  rm -rf "$work"
  echo "$out"
}

up() {
  local number=$1 subnet tap=t-$name initrd
  shift
  ! alive || return 0
  [[ -e $kernel_folder/done ]] || "$lab_home/setup.sh" full
  "$lab_home/lab.sh" switch
  subnet=$(cat "$lab/subnet")
  rm -rf "$folder"
  mkdir -p "$folder"
  grep -q "^$subnet.$number=" "$vms/names" 2>/dev/null || echo "$subnet.$number=$name" >>"$vms/names"
  ip -n "$netns" link del "$tap" 2>/dev/null || true
  ip netns exec "$netns" ip tuntap add "$tap" mode tap
  ip -n "$netns" link set "$tap" master sw0 up
  initrd=$(initramfs)
  if [[ -d $lab/files/over ]]; then
    # Plain before compressed: the kernel finds the other order only where the first ends at a multiple of four.
    (cd "$lab/files" && find over | cpio -o -H newc --quiet -R 0:0; cat "$initrd") >"$folder/initrd"
    initrd=$folder/initrd
  fi
  # "-cpu max" brings emulated SVM: /dev/kvm works inside, and a guest in the VM runs on it.
  ip netns exec "$netns" setsid qemu-system-x86_64 -name "$name" -machine q35 -accel tcg,thread=multi -cpu max \
    -smp "${CPUS:-1}" -m "${MEM:-1024}" -nodefaults -display none -serial "file:$folder/console" \
    -qmp "unix:$folder/qmp,server=on,wait=off" -kernel "$(ls "$kernel_folder"/boot/vmlinuz-*)" -initrd "$initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr net.ifnames=0 lab.name=$name lab.address=$subnet.$number \
lab.home=$lab_home lab.cache=$cache lab.state=$lab lab.hosts=$(paste -sd, "$vms/names")" \
    -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=root,mount_tag=root \
    -device virtio-serial-pci -chardev "socket,id=agent,path=$folder/agent,server=on,wait=off" \
    -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 \
    -netdev "tap,id=net,ifname=$tap,script=no,downscript=no" \
    -device "virtio-net-pci,netdev=net,id=nic,mac=52:54:00:78:$(printf %02x "${subnet##*.}"):$(printf %02x "$number")" \
    -device virtio-rng-pci "$@" </dev/null >"$folder/log" 2>&1 9>&- &
  save_pid "$folder/pid" $!
  poll 10 test -S "$folder/qmp" || die "$(cat "$folder/log")"
}

wait_ready() {
  local end=$((SECONDS + ${1:-180}))
  until grep -aq 'LAB VM ready' "$folder/console" 2>/dev/null; do
    if ! alive || grep -aqE 'Kernel panic|LAB VM has no root' "$folder/console" || ((SECONDS > end)); then
      tail -5 "$folder/console" >&2
      die "VM $name does not boot"
    fi
    sleep 0.2
  done
}

off() {
  kill_pid "$folder/pid"
  ip -n "$netns" link del "t-$name" 2>/dev/null || true
}

case $command in
  up) up "$@" ;;
  wait) wait_ready "$@" ;;
  exec) exec node "$project/dist/test/lab/vm/exec.js" "$folder/agent" "${VM_TIMEOUT:-60}" "$@" ;;
  off) off ;;
  reset) qmp system_reset ;;
  pause) qmp stop ;;
  cont) qmp cont ;;
  link) qmp set_link "{\"name\":\"nic\",\"up\":$([[ $1 == up ]] && echo true || echo false)}" ;;
  disk)
    mkdir -p "$vms/disks"
    rm -f "$vms/disks/$name"
    truncate -s "$1" "$vms/disks/$name"
    echo "-drive file=$vms/disks/$name,if=none,id=$name,format=raw,cache=writeback -device virtio-blk-pci,drive=$name,serial=$name"
    ;;
  list) for file in "$vms"/*/pid; do ! read_pid "$file" >/dev/null || basename "$(dirname "$file")"; done ;;
  console) tr -d '\r' <"$folder/console" ;;
  down) for file in "$vms"/*/pid; do [[ ! -e $file ]] || "$self" off "$(basename "$(dirname "$file")")"; done ;;
  *) sed -n '2,/^set/{/^#/p}' "$self" | cut -c3-; [[ $command == help ]] ;;
esac
