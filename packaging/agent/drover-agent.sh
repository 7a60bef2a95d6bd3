#!/bin/sh
exec /usr/lib/drover/node /usr/lib/drover/dist/agent/main.js "$@"
