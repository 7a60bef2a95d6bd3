#!/bin/bash
# host-init.sh HOST NUMBER ROLE: process 1 of a lab host. Started in fresh namespaces, it builds the host's root file
# system, moves into it and becomes systemd. The disk (the overlay's upper directory) outlives the host, as a disk does:
# what the host wrote before a power cut is there after the next boot.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
host=$1 number=$2 role=$3
disk=$lab/disks/$host root=$lab/disks/$host/root
subnet=$(cat "$lab/subnet")
address=$subnet.$number

mount_root() {
  hostname "$host"
  mount --make-rprivate /
  mkdir -p "$disk"/{upper,work,root}
  # The power cut may have been a moment ago: the old mount holds the disk until the kernel has cleaned up.
  poll 10 mount -t overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" overlay "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  mount -t tmpfs -o mode=755 run "$root/run"
  mkdir -p "$root/run/lock"
  # The machine's kernel booted once; this host has just booted again.
  cat /proc/sys/kernel/random/uuid >"$root/run/boot-id"
  mount --bind "$root/run/boot-id" "$root/proc/sys/kernel/random/boot_id"
  mount -t tmpfs -o mode=1777 tmp "$root/tmp"
  mount_devices
  mount_cgroups
  local folder
  for folder in shared files; do
    mkdir -p "$root/lab/$folder"
    mount --bind "$lab/$folder" "$root/lab/$folder"
  done
}

# Own device nodes: a host must not write sockets and links into the machine's /dev.
mount_devices() {
  local node major minor
  mount -t tmpfs -o mode=755 dev "$root/dev"
  for node in null zero full random urandom tty kvm fuse loop-control net/tun; do
    [[ -e /dev/$node ]] || continue
    read -r major minor < <(stat -c '%t %T' "/dev/$node")
    mkdir -p "$(dirname "$root/dev/$node")"
    mknod -m 666 "$root/dev/$node" c "$((16#$major))" "$((16#$minor))"
  done
  for ((minor = 0; minor < 64; minor++)); do mknod -m 660 "$root/dev/loop$minor" b 7 "$minor"; done
  mkdir "$root"/dev/{pts,shm,mqueue}
  mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for node in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${node%:*}" "$root/dev/${node#*:}"; done
}

mount_cgroups() {
  local tree name
  if unified; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    return
  fi
  mount -t tmpfs -o mode=755 cgroup "$root/sys/fs/cgroup"
  for name in cpu cpuacct cpuset memory devices freezer blkio pids; do
    tree=$root/sys/fs/cgroup/$name
    mkdir "$tree"
    mount -t cgroup -o "$name" cgroup "$tree" || rmdir "$tree"
  done
  mkdir "$root/sys/fs/cgroup/systemd"
  mount -t cgroup -o none,name=systemd,xattr cgroup "$root/sys/fs/cgroup/systemd"
}

# A disk that boots for the first time gets its identity; nothing of the machine's own state must shine through.
first_boot() {
  local etc=$root/etc folder
  printf '77000000000040008000%012d\n' "$number" >"$etc/machine-id"
  echo "$host" >"$etc/hostname"
  hosts_file >"$etc/hosts"
  : >"$etc/fstab"
  for folder in /var/lib/libvirt/qemu /var/log/libvirt /var/cache/libvirt /etc/libvirt/qemu /var/lib/drover /etc/drover \
    /var/log/journal /etc/lvm/devices /etc/systemd/system/multi-user.target.wants; do
    rm -rf "${root:?}$folder"
  done
  rm -rf "$etc"/systemd/system/*.wants "$etc"/rc?.d
  # The lab itself lies below it, and other hosts that boot now write there.
  poll 10 rm -rf "$root/var/tmp"
  mkdir -m 1777 "$root/var/tmp"
  mkdir -p "$etc/libvirt/qemu/networks/autostart" "$root"/var/{lib/libvirt/qemu,log/libvirt,cache/libvirt/qemu}
  mkdir -p "$etc/systemd/system/multi-user.target.wants" "$etc/iscsi"
  echo "InitiatorName=iqn.2026-01.lab:$host" >"$etc/iscsi/initiatorname.iscsi"
  rm -f "$root/usr/sbin/policy-rc.d"
  mask_units "$etc/systemd/system"
  [[ $role != hypervisor ]] || hypervisor_files "$etc"
  touch "$disk/identity"
}

hosts_file() {
  local name n rest
  echo '127.0.0.1 localhost'
  while read -r name n rest; do echo "$subnet.$n $name"; done <"$lab/hosts"
}

# Units that would touch the machine's kernel or hardware, or that a lab host has no use for.
mask_units() {
  local unit
  for unit in systemd-{networkd,resolved,timesyncd,logind,udevd,udev-trigger,update-utmp,firstboot}.service \
    systemd-{journal-catalog-update,tmpfiles-setup-dev,sysctl,modules-load,random-seed,remount-fs}.service \
    systemd-udevd-{kernel,control}.socket modprobe@.service getty.target console-getty.service ldconfig.service \
    lvm2-monitor.service dm-event.socket e2scrub_reap.service apt-daily.timer apt-daily-upgrade.timer \
    dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount sys-kernel-{debug,tracing,config}.mount \
    sys-fs-fuse-connections.mount wdmd.service qemu-guest-agent.service libvirt-guests.service; do
    ln -sf /dev/null "$1/$unit"
  done
}

# What a hypervisor of the lab has, and the drover-agent package does not bring.
hypervisor_files() {
  local etc=$1 uuid unit
  uuid=$(printf '77000000-0000-4000-8000-%012d' "$number")
  # libvirtd reads the file that the unit names: Debian's own, and Drover's once the package is installed.
  sed -i '/^host_uuid/d' "$etc/libvirt/libvirtd.conf"
  echo "host_uuid = \"$uuid\"" >>"$etc/libvirt/libvirtd.conf"
  cp "$lab_home/units/qemu.conf" "$etc/libvirt/qemu.conf"
  printf 'auto_disk_leases = 0\nrequire_lease_for_disks = 0\nuser = "root"\ngroup = "root"\n' >"$etc/libvirt/qemu-sanlock.conf"
  mkdir -p "$etc/sanlock" "$etc/lvm"
  cat >"$etc/sanlock/sanlock.conf" <<END
use_watchdog = 0
high_priority = 0
mlock_level = 0
uname = root
gname = root
END
  echo 'sanlock_opts=""' >"$etc/default/sanlock"
  cat >"$etc/lvm/lvmlocal.conf" <<'END'
global { use_aio = 0  use_lvmpolld = 0  event_activation = 0 }
devices { global_filter = [ "a|^/dev/loop|", "r|.*|" ]  use_devicesfile = 0 }
END
  # sanlock insists on raising RLIMIT_MEMLOCK; where root may not (bit 24: CAP_SYS_RESOURCE), a shim says yes.
  if ! ((0x$(awk '/^CapEff/{print $2}' /proc/self/status) >> 24 & 1)); then
    install -D "$cache/rlimit-shim.so" "$root/usr/local/lib/drover-lab/rlimit-shim.so"
    mkdir -p "$etc/systemd/system/sanlock.service.d"
    printf '[Service]\nEnvironment=LD_PRELOAD=/usr/local/lib/drover-lab/rlimit-shim.so\n' \
      >"$etc/systemd/system/sanlock.service.d/lab.conf"
  fi
  for unit in libvirtd.service sanlock.service; do
    ln -sf "/lib/systemd/system/$unit" "$etc/systemd/system/multi-user.target.wants/$unit"
  done
  mkdir -p "$etc/systemd/system/sockets.target.wants"
  for unit in libvirtd{,-ro,-admin}.socket virtlogd.socket virtlockd.socket; do
    ln -sf "/lib/systemd/system/$unit" "$etc/systemd/system/sockets.target.wants/$unit"
  done
}

# Guests are bridged: br0 carries the host's address and the cable.
start_network() {
  poll 10 test -e /sys/class/net/eth0
  ip link set lo up
  if [[ $role == hypervisor ]]; then
    ip link add br0 type bridge forward_delay 0
    ip link set br0 address "$(cat /sys/class/net/eth0/address)" up
    ip link set eth0 master br0
    ip addr add "$address/24" dev br0
  else
    ip addr add "$address/24" dev eth0
  fi
  ip link set eth0 up
}

# /proc is still the machine's: it says by which number the machine knows this process.
read -r machine_pid _ </proc/self/stat
echo "$machine_pid" >"$lab/run/$host.boot"
mount_root
[[ -e $disk/identity ]] || first_boot
# QEMU's capabilities are probed once for all hosts and labs.
if [[ $role == hypervisor ]]; then
  mkdir -p "$cache/libvirt-capabilities" "$root/var/cache/libvirt/qemu/capabilities"
  mount --bind "$cache/libvirt-capabilities" "$root/var/cache/libvirt/qemu/capabilities"
fi
cd "$root"
mkdir -p .machine
pivot_root . .machine
umount -l /.machine
start_network
export container=drover-lab
exec env -i container=$container PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=multi-user.target --show-status=0 --log-target=journal
