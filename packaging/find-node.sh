# The Node.js that the daemons run on: the one named by DROVER_NODE, else the one that they run on already (an upgrade
# by the coordinator has nobody who could name it), else the first of the usual places.
find_node() {
  for node in "$DROVER_NODE" "$(readlink -f /usr/lib/drover/node || true)" "$(command -v node || true)" \
    /usr/local/bin/node /usr/bin/node /opt/node/bin/node; do
    [ -x "$node" ] || continue
    "$node" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' || continue
    echo "$node"
    return 0
  done
  return 1
}
