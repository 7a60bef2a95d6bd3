# shellcheck shell=bash
# Sourced by every script of the lab: where things lie, and small functions. Sourcing it changes nothing.
export LC_ALL=C.UTF-8
lab_home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$lab_home/../.." && pwd)

# Several labs live side by side on one machine: everything a lab makes carries its name.
export LAB_NAME=${LAB_NAME:-lab}
[[ $LAB_NAME =~ ^[a-z][a-z0-9-]{0,10}$ ]] || { echo "LAB_NAME: 1 to 11 of a-z, 0-9 and -, not \"$LAB_NAME\"" >&2; exit 2; }
export LAB_STATE=${LAB_STATE:-/var/tmp/drover-lab}
lab=$LAB_STATE/$LAB_NAME       # files of this lab
cache=$project/build/lab        # what labs share: kernels, the guest, the shim
netns=drv-$LAB_NAME            # its switch: a network namespace with the bridge sw0
uplink=drv-$LAB_NAME           # the machine's own end of a cable to that switch
cgroup=drv-$LAB_NAME

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# poll SECONDS COMMAND...: repeats the command until it succeeds; fails when the time is over.
poll() {
  local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
  shift
  until "$@" >/dev/null 2>&1; do
    ((${EPOCHREALTIME/[.,]/} < end)) || return 1
    sleep 0.1
  done
}

# --- processes. A pid file holds "PID STARTTIME": a number used again by another process is never taken for ours.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -r -a stat <<<"${stat##*) }"
  [[ ${stat[0]} != Z ]] && echo "${stat[19]}"
}
save_pid() { echo "$2 $(start_time "$2")" >"$1"; }
read_pid() {
  local pid started
  { read -r pid started <"$1"; } 2>/dev/null && [[ -n $started && $(start_time "$pid") == "$started" ]] && echo "$pid"
}
pid_gone() { ! read_pid "$1" >/dev/null; }
# Kills the process of a pid file and waits for its end. For pid 1 of a namespace the kernel reports the end only
# after every process inside has gone.
kill_pid() {
  local pid
  if pid=$(read_pid "$1"); then
    kill -KILL "$pid" 2>/dev/null || true
    poll "${2:-15}" pid_gone "$1" || say "process $pid of $1 does not end"
  fi
  rm -f "$1"
}

# --- cgroups: version 1 has one tree per controller, version 2 a single one.
unified() { [[ -e /sys/fs/cgroup/cgroup.controllers ]]; }
cgroup_trees() { if unified; then echo /sys/fs/cgroup; else find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d; fi; }

make_cgroup() {
  local tree level file
  while read -r tree; do
    [[ -w $tree ]] && mkdir -p "$tree/$cgroup/$1" 2>/dev/null || continue
    for level in "$tree/$cgroup" "$tree/$cgroup/$1"; do
      for file in cpuset.cpus cpuset.mems; do
        [[ ! -e $level/$file || -e $tree/cgroup.controllers ]] || cat "$tree/$file" >"$level/$file"
      done
    done
  done < <(cgroup_trees)
  if unified; then
    for tree in /sys/fs/cgroup "/sys/fs/cgroup/$cgroup"; do
      for file in cpu cpuset memory io pids; do echo "+$file" >"$tree/cgroup.subtree_control" || true; done
    done 2>/dev/null
  fi
}

# Moves the calling shell into the host's cgroup. In version 2 only leaves may hold processes: systemd's init.scope.
enter_cgroup() {
  local tree leaf
  while read -r tree; do
    for leaf in "$tree/$cgroup/$1/init.scope" "$tree/$cgroup/$1"; do
      [[ -d $leaf ]] && echo "$BASHPID" >"$leaf/cgroup.procs" && break
    done || true
  done < <(cgroup_trees) 2>/dev/null
}

# In version 2 a host's systemd cannot use its cgroup while a process from outside sits in it: the one that made the
# namespaces, and waits for their end, moves aside.
leave_cgroup() {
  mkdir -p "/sys/fs/cgroup/$cgroup/outside"
  echo "$1" >"/sys/fs/cgroup/$cgroup/outside/cgroup.procs"
}

remove_cgroups() {
  local tree left=0
  while read -r tree; do
    [[ ! -d $tree/$cgroup ]] || find "$tree/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
  done < <(cgroup_trees)
  return $left
}
