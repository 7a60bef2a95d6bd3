#!/bin/sh
exec /usr/lib/drover/node /usr/lib/drover/dist/cli/main.js "$@"
