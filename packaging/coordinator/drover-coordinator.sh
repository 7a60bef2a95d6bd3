#!/bin/sh
# Whatever touches the coordinator's files does so as its own user, so that the daemon can read them afterwards.
set -e
program='/usr/lib/drover/node /usr/lib/drover/dist/coordinator/main.js'
[ "$(id -u)" = 0 ] || exec $program "$@"
exec setpriv --reuid drover --regid drover --init-groups --inh-caps=-all $program "$@"
