#!/bin/bash
# Lints proto/ and refuses changes that break clients: tools/proto-lint.sh [--accept]
#
# Compared is with tools/buf/baseline.binpb, the contract as last accepted; --accept makes today's contract the
# baseline. buf is installed beside the lock file of the project, on first use.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
buf=tools/buf/node_modules/.bin/buf
if [[ ! -x $buf ]]; then
  npm install --prefix tools/buf --no-fund --no-audit --no-package-lock --silent
fi
"$buf" lint
if [[ ${1:-} == --accept ]]; then
  "$buf" build --exclude-source-info -o tools/buf/baseline.binpb
  echo 'the contract as it is now is the baseline'
else
  "$buf" breaking --against tools/buf/baseline.binpb
  echo 'proto/: lint clean, nothing broken'
fi
