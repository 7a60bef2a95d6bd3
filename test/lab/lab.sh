#!/bin/bash
# The lab: real hosts on one machine, each its own namespaces with its own systemd, libvirtd and sanlock.
#
#   up [HOST...]             boot coord, h1 and h2, or the hosts named (coord: no hypervisor; others: hypervisors)
#   status                   the hosts, their power, address and failed units
#   shell HOST               look around in a host
#   exec HOST COMMAND...     run a command there, killed after $LAB_TIMEOUT (60) seconds
#   off HOST | on HOST       cut the power at once | boot the same disk again
#   link HOST down|up        pull the network cable | put it back
#   cut HOST... | heal       the named hosts lose each other, but not the others | all cables whole
#   storage HOST down|up     the host loses its paths to the shared storage | gets them back
#   kill HOST WHAT           SIGKILL to agent, coordinator, libvirtd, sanlock or qemu
#   freeze|thaw HOST         every process of the host stands still | goes on
#   netns COMMAND...         run a command on the lab's switch (10.x.y.1)
#   switch                   only make the network of the lab
#   setup                    only install and build what the lab needs
#   down                     take everything away
#   traces                   what is left of the lab on this machine; nothing after `down`
#
# LAB_NAME (default: lab) tells labs apart that run at the same time. docs/contributors/lab.md has the rest.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
self=$lab_home/lab.sh

usage() { sed -n '2,/^set/{/^#/p}' "$self" | cut -c3-; }
subnet() { cat "$lab/subnet" 2>/dev/null || die "lab \"$LAB_NAME\" is not up"; }
hosts() { cat "$lab/hosts" 2>/dev/null || true; }
record() { awk -v host="$1" '$1 == host' "$lab/hosts" 2>/dev/null; }
number_of() { record "$1" | cut -d' ' -f2; }
known() { [[ -n $(record "$1") ]] || die "no host \"$1\" in lab \"$LAB_NAME\""; }
init_pid() { read_pid "$lab/run/$1.pid" || die "host \"$1\" is off"; }
powered() { read_pid "$lab/run/$1.pid" >/dev/null; }

# --- the switch: a bridge in a network namespace, with one cable to this machine
free_subnet() {
  local start try
  start=$(cksum <<<"$LAB_NAME" | cut -d' ' -f1)
  for ((try = 0; try < 200; try++)); do
    local candidate=10.77.$(((start + try) % 200 + 20))
    ip -4 -o addr | grep -qF " $candidate." || { echo "$candidate"; return; }
  done
  die 'no free network for the lab'
}

switch_up() {
  ! ip netns list | grep -qE "^$netns( |$)" || return 0
  mkdir -p "$lab"/{run,disks,shared,files}
  free_subnet >"$lab/subnet"
  mountpoint -q "$lab/disks" || mount -t tmpfs -o mode=755 "drover-lab-$LAB_NAME" "$lab/disks"
  mount --make-private "$lab/disks"
  ip netns add "$netns"
  ip link add "$uplink" type veth peer name uplink netns "$netns"
  ip netns exec "$netns" bash -e <<END
ip link set lo up
ip link add sw0 type bridge forward_delay 0
ip link set sw0 up
ip addr add $(subnet).1/24 dev sw0
ip link set uplink master sw0 up
END
  ip addr add "$(subnet).254/24" dev "$uplink"
  ip link set "$uplink" up
  dhcp_up
}

# Guests are bridged to the switch and ask for an address.
dhcp_up() {
  printf '%s\n' "interface sw0" "max_leases 50" "start $(subnet).150" "end $(subnet).199" "lease_file $lab/run/dhcp.leases" \
    "pidfile $lab/run/udhcpd.pid" 'option subnet 255.255.255.0' 'option lease 3600' >"$lab/run/udhcpd.conf"
  : >"$lab/run/dhcp.leases"
  ip netns exec "$netns" setsid busybox udhcpd -f "$lab/run/udhcpd.conf" </dev/null >"$lab/run/udhcpd.log" 2>&1 9>&- &
  save_pid "$lab/run/dhcp.daemon" $!
}

# --- hosts
add_host() {
  local host=$1 number role=hypervisor
  [[ $host =~ ^[a-z][a-z0-9-]{0,9}$ ]] || die "not a host name: $host"
  [[ -z $(record "$host") ]] || return 0
  case $host in coord*) role=coordinator ;; esac
  number=$(awk 'BEGIN { n = 10 } $2 > n { n = $2 } END { print n + 1 }' "$lab/hosts" 2>/dev/null || echo 11)
  echo "$host $number $role" >>"$lab/hosts"
}

power_on() {
  local host=$1 number role veth pid
  known "$host"
  powered "$host" && return 0
  read -r _ number role < <(record "$host")
  veth=v-$host
  rm -f "$lab/run/$host.boot"
  make_cgroup "$host"
  (
    enter_cgroup "$host"
    exec setsid unshare --mount --net --uts --ipc --pid --cgroup --fork --kill-child \
      "$lab_home/host-init.sh" "$host" "$number" "$role" </dev/null >"$lab/run/$host.log" 2>&1 9>&-
  ) &
  poll 10 test -s "$lab/run/$host.boot" || die "$(cat "$lab/run/$host.log")"
  pid=$(cat "$lab/run/$host.boot")
  ! unified || leave_cgroup $!
  save_pid "$lab/run/$host.pid" "$pid"
  ip -n "$netns" link del "$veth" 2>/dev/null || true
  ip -n "$netns" link add "$veth" type veth peer name eth0 netns "$pid" address "52:54:00:77:$(mac_byte):$(printf %02x "$number")"
  ip -n "$netns" link set "$veth" master sw0 up
}
mac_byte() { printf %02x "$(subnet | cut -d. -f3)"; }

# Booted: systemd has reached its target. A unit that failed does not stop the boot; `status` names it.
booted() { "$self" exec "$1" sh -c 'systemctl is-system-running | grep -qE "running|degraded"'; }
wait_booted() {
  poll 60 booted "$1" || die "host \"$1\" does not boot: $(tail -5 "$lab/run/$1.log")"
}

power_off() {
  kill_pid "$lab/run/$1.pid"
  ip -n "$netns" link del "v-$1" 2>/dev/null || true
}

run_in() {
  local pid host=$1
  shift
  pid=$(init_pid "$host")
  enter_cgroup "$host"
  # The limit works inside the host: it ends the command there, not only the way in.
  exec nsenter --target "$pid" --all --root --wd env -i HOME=/root TERM="${TERM:-dumb}" LC_ALL=C.UTF-8 \
    LVM_SUPPRESS_FD_WARNINGS=1 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

status() {
  local host number role state
  [[ -s $lab/hosts ]] || { echo "lab \"$LAB_NAME\" is not up"; return 0; }
  printf '%-10s %-16s %-12s %-5s %s\n' HOST ADDRESS ROLE POWER SYSTEM
  while read -r host number role; do
    state=-
    if powered "$host"; then
      state=$("$self" exec "$host" systemctl is-system-running || true)
      [[ $state == running ]] || state+=" $("$self" exec "$host" systemctl --failed --plain --no-legend | awk '{ print $1 }' | tr '\n' ' ')"
    fi
    printf '%-10s %-16s %-12s %-5s %s\n' "$host" "$(subnet).$number" "$role" "$(powered "$host" && echo on || echo off)" "$state"
  done <"$lab/hosts"
}

# Only one command at a time changes the lab; the lock is not inherited by what the lab starts.
locked() {
  mkdir -p "$lab"
  exec 9>"$LAB_STATE/$LAB_NAME.lock"
  flock -w 120 9 || die 'another command is changing this lab'
}

up() {
  local host hosts=("$@")
  ((${#hosts[@]})) || hosts=(coord h1 h2)
  "$lab_home/setup.sh" fast
  switch_up
  for host in "${hosts[@]}"; do add_host "$host"; done
  for host in "${hosts[@]}"; do power_on "$host"; done
  for host in "${hosts[@]}"; do wait_booted "$host"; done
  "$lab_home/bmc/bmc.sh" up 9>&-
}

down() {
  local host pid
  "$lab_home/vm/vm.sh" down
  "$lab_home/bmc/bmc.sh" down
  for host in $(hosts | cut -d' ' -f1); do power_off "$host"; done
  kill_pid "$lab/run/dhcp.daemon"
  ! ip netns list | grep -qE "^$netns( |$)" || {
    for pid in $(ip netns pids "$netns"); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns del "$netns"
  }
  ip link del "$uplink" 2>/dev/null || true
  # First what stood on a loop device of ours in some host, whose /dev was another: only the name is the same.
  losetup -n -O NAME,BACK-FILE | awk -v dir="$lab/" '{ name[$1] = $2 } index($2, dir) == 1 { lun[$1] = 1 }
    END { for (loop in name) { end = name[loop]; sub(/.*\//, "/dev/", end); if (end in lun) print loop }
      for (loop in lun) print loop }' | xargs -r -n1 losetup -d
  poll 10 remove_cgroups || say 'cgroups remain'
  ! mountpoint -q "$lab/disks" || poll 10 umount "$lab/disks" || umount -l "$lab/disks"
  rm -rf "$lab" "$LAB_STATE/$LAB_NAME.lock"
  rmdir "$LAB_STATE" 2>/dev/null || true
}

# What the unit's main process is; for qemu, every guest of the host.
victim() {
  case $2 in
    agent | coordinator) "$self" exec "$1" systemctl show -P MainPID "drover-$2.service" ;;
    libvirtd | sanlock) "$self" exec "$1" systemctl show -P MainPID "$2.service" ;;
    qemu) "$self" exec "$1" pgrep -x qemu-system-x86 ;;
    *) die "not a thing to kill: $2" ;;
  esac
}

storage() {
  case $2 in
    down) "$self" exec "$1" sh -c 'mountpoint -q /lab/shared && mount -t tmpfs -o ro,size=4k lost /lab/shared' ;;
    up) "$self" exec "$1" sh -c 'while findmnt -n -o SOURCE /lab/shared | grep -qx lost; do umount /lab/shared; done' ;;
    *) usage; exit 2 ;;
  esac
}

freezer() {
  if unified; then
    echo $((${2/THAWED/0} ? 1 : 0)) >"/sys/fs/cgroup/$cgroup/$1/cgroup.freeze"
  else
    echo "$2" >"/sys/fs/cgroup/freezer/$cgroup/$1/freezer.state"
  fi
}

traces() {
  local tree
  ip netns list | grep -E "^$netns( |$)" || true
  ip -o link show "$uplink" 2>/dev/null || true
  findmnt -rn -o TARGET | grep -F "$lab/" || true
  losetup -n -O NAME,BACK-FILE | grep -F " $lab/" || true
  while read -r tree; do [[ ! -d $tree/$cgroup ]] || echo "$tree/$cgroup"; done < <(cgroup_trees)
  pgrep -af "$lab/" || true
  [[ ! -e $lab ]] || echo "$lab"
}

command=${1:-help}
shift || true
case $command in
  up) locked && up "$@" ;;
  down) locked && down ;;
  setup) "$lab_home/setup.sh" fast ;;
  switch) locked && switch_up ;;
  on) known "$1" && locked && power_on "$1" && wait_booted "$1" ;;
  off) known "$1" && locked && power_off "$1" ;;
  power) powered "$1" && echo on || echo off ;;
  status) status ;;
  exec) known "$1" && run_in "$1" timeout -k 2 "${LAB_TIMEOUT:-60}" "${@:2}" ;;
  shell) known "$1" && run_in "$1" bash -l ;;
  link) ip -n "$netns" link set "v-$1" "$2" ;;
  cut) for host; do ip netns exec "$netns" bridge link set dev "v-$host" isolated on; done ;;
  heal)
    for host in $(hosts | cut -d' ' -f1); do
      ! powered "$host" || ip netns exec "$netns" bridge link set dev "v-$host" isolated off
    done
    ;;
  storage) known "$1" && storage "$1" "${2:-}" ;;
  kill)
    known "$1"
    for pid in $(victim "$1" "${2:-}"); do ((pid == 0)) || "$self" exec "$1" kill -KILL "$pid"; done
    ;;
  freeze) freezer "$1" FROZEN ;;
  thaw) freezer "$1" THAWED ;;
  netns) exec ip netns exec "$netns" "$@" ;;
  address) known "$1" && echo "$(subnet).$(number_of "$1")" ;;
  subnet) subnet ;;
  traces) traces ;;
  pid) init_pid "$1" ;;
  *) usage; [[ $command == help ]] ;;
esac
