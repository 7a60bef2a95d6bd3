#!/bin/bash
# unpack.sh FOLDER: lays the built packages of common and agent out in FOLDER as an installed system has them, for VMs
# to boot with: dpkg itself takes minutes under emulation, and is tried in the fast tier.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
mkdir -p "$1"
for package in "$project"/build/drover-{common,agent}_*.deb; do
  work=$(mktemp -d)
  dpkg-deb -x "$package" "$work"
  # The VM's /lib is a link to /usr/lib.
  [[ ! -d $work/lib ]] || { mkdir -p "$work/usr/lib" && cp -a "$work/lib/." "$work/usr/lib/" && rm -rf "$work/lib"; }
  cp -a "$work/." "$1/"
  rm -rf "$work"
done
ln -sfn "$(command -v node)" "$1/usr/lib/drover/node"
node "$lab_home/vm/bundle.mjs" "$1"
