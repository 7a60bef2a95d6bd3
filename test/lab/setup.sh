#!/bin/bash
# setup.sh build|fast|full: installs and builds what the build, or a tier of the lab, needs. Quick when all is there.
# setup.sh missing build|fast|full: only names the packages that are missing.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

wanted() {
  local files=("$lab_home/packages-$1.txt")
  [[ $1 != full ]] || files+=("$lab_home/packages-fast.txt")
  sed 's/#.*//; /^ *$/d' "${files[@]}"
}
missing() {
  comm -23 <(wanted "$1" | sort -u) \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | awk '$1 == "installed" { print $2 }' | sort -u)
}

# Installs packages; their daemons stay off on this machine, the lab's hosts start their own.
install() {
  local policy=/usr/sbin/policy-rc.d ours=
  if [[ ! -e $policy ]]; then
    ours=1
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
  fi
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  local failed=0
  { timeout 300 apt-get update -q && timeout 1200 apt-get install -y -q --no-install-recommends \
    -o Dpkg::Use-Pty=0 "$@"; } >"$cache/apt.log" 2>&1 || failed=1
  [[ -z $ours ]] || rm -f $policy
  ((failed == 0)) || { tail -20 "$cache/apt.log" >&2; exit 1; }
}

# Debian's kernel is unpacked, not installed: cloud (small) for guests, full for the virtual machines of the full tier.
kernel() {
  local folder=$cache/kernel-$1 meta=linux-image-$2amd64 package
  [[ ! -e $folder/done ]] || return 0
  package=$(apt-cache depends "$meta" 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
  if [[ -z $package ]]; then
    timeout 300 apt-get update -q >"$cache/apt.log" 2>&1
    package=$(apt-cache depends "$meta" | awk '/Depends: linux-image/ { print $2; exit }')
  fi
  [[ -n $package ]] || die "apt knows no $meta"
  say "fetching $package"
  rm -rf "$folder"
  mkdir -p "$folder/deb"
  (cd "$folder/deb" && timeout 600 apt-get download -q "$package" >>"$cache/apt.log" 2>&1)
  dpkg-deb -x "$folder"/deb/*.deb "$folder"
  rm -rf "$folder/deb"
  depmod -b "$folder" "$(ls "$folder/lib/modules")"
  echo "$package" >"$folder/done"
}

tier=${1:-fast}
if [[ $tier == missing ]]; then
  missing "${2:-fast}"
  exit
fi
mkdir -p "$cache"
exec 8>"$cache/setup.lock"
flock -w 1800 8
mapfile -t packages < <(missing "$tier")
((${#packages[@]} == 0)) || install "${packages[@]}"
[[ $tier != build ]] || exit 0
kernel cloud cloud-
[[ $tier == fast ]] || kernel full ''
[[ $cache/rlimit-shim.so -nt $lab_home/rlimit-shim.c ]] ||
  gcc -shared -fPIC -O1 -o "$cache/rlimit-shim.so" "$lab_home/rlimit-shim.c"
