#!/bin/bash
# Installs the node modules that package-lock.json names, unless they are there. Scripts of packages do not run; the one
# native module is compiled by name.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
if [[ ! -e node_modules/.package-lock.json ]] || ! cmp -s package-lock.json build/installed-lock.json; then
  # A tree that npm itself finds complete is kept.
  if [[ ! -e node_modules/.package-lock.json ]] || ! npm ls --all >/dev/null 2>&1; then
    timeout 900 npm ci --ignore-scripts
  fi
  mkdir -p build
  cp package-lock.json build/installed-lock.json
fi
sqlite='const Database = require("better-sqlite3"); new Database(":memory:").close()'
node -e "$sqlite" 2>/dev/null || timeout 900 npm rebuild better-sqlite3
node -e "$sqlite"
