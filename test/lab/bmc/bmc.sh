#!/bin/bash
# Power controllers of the lab's hosts: one OpenIPMI simulator each, on the lab's network, so that Debian's own fence
# agents drive them as they drive real ones. The controller of host number N listens at address N+100.
#   bmc.sh up | down          start one for every host | end them
#   bmc.sh address HOST       where it listens; user "drover", password "fence-me"
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib.sh"

controllers() { awk '{ print $1, $2 }' "$lab/hosts" 2>/dev/null || true; }
address() { echo "$(cat "$lab/subnet").$((100 + $1))"; }

start() {
  local host=$1 where folder=$lab/bmc/$1
  where=$(address "$2")
  read_pid "$folder/pid" >/dev/null && return 0
  mkdir -p "$folder/state"
  ip netns exec "$netns" ip addr replace "$where/24" dev sw0
  cat >"$folder/lan.conf" <<END
name "$host"
set_working_mc 0x20
startlan 1
  addr $where 623
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid 77000000000040008000000000000$(printf %03d "$2")
endlan
chassis_control "$lab_home/bmc/chassis.sh $host"
user 2 true "drover" "fence-me" admin 10 none md2 md5 straight
END
  printf '%s\n' 'mc_setbmc 0x20' 'mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02' 'mc_enable 0x20' >"$folder/commands"
  nsenter --net="/run/netns/$netns" \
    setsid ipmi_sim -n -c "$folder/lan.conf" -f "$folder/commands" -s "$folder/state" \
    </dev/null >"$folder/log" 2>&1 8>&- 9>&- &
  save_pid "$folder/pid" $!
}

case ${1:-} in
  up) controllers | while read -r host number; do start "$host" "$number"; done ;;
  down) for file in "$lab"/bmc/*/pid; do [[ ! -e $file ]] || kill_pid "$file"; done ;;
  address) address "$(awk -v host="$2" '$1 == host { print $2 }' "$lab/hosts")" ;;
  *) sed -n '2,/^set/{/^#/p}' "$0" | cut -c3-; exit 2 ;;
esac
