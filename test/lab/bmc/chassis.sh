#!/bin/bash
# chassis.sh HOST get|set NAME [VALUE] ...: what ipmi_sim calls to read and to switch a host's power. It answers with
# the truth: a host has power while process 1 of its namespaces lives.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
host=$1 operation=$2
shift 2
# The simulator sits in the network namespace of the switch; nothing here needs the one of the machine.
lab() { "$lab_home/lab.sh" "$@"; }

switch_power() {
  case $1 in
    0) lab off "$host" ;;
    1) lab on "$host" ;;
  esac
}

case $operation in
  get)
    for name; do
      case $name in
        power) state=$(lab power "$host") && echo "power:$([[ $state == on ]] && echo 1 || echo 0)" ;;
        *) echo "$name:0" ;;
      esac
    done
    ;;
  set)
    while (($#)); do
      case $1 in
        power) switch_power "$2" ;;
        reset) lab off "$host" && lab on "$host" ;;
      esac
      shift 2
    done
    ;;
esac >&1 2>>"$lab/bmc/$host/chassis.log"
