#!/bin/sh
# Starts nginx where its log is counted by another container. The log is a plain file in a volume that both have; it is
# told to the engine too, and rotated before the volume is full.
#
#   start.sh LOGS RUN MEBIBYTES nginx -c CONFIGURATION
set -eu

logs=$1 run=$2
largest=$(($3 * 2048)) # blocks of 512 bytes
master=$$ # nginx, once this shell has become it
shift 3

touch "$logs/access.log"
ln -sf "$logs/access.log" "$run/access.log"
ln -sf /dev/stderr "$run/error.log"

rotate() {
  [ -n "$(find "$logs/access.log" -size +"$largest")" ] || return 0
  mv -f "$logs/access.log" "$logs/access.log.1"
  kill -USR1 "$master" # nginx opens the next one
}

(
  tail -n 0 -F "$logs/access.log" 2>/dev/null &
  while sleep 2 && kill -0 "$master" 2>/dev/null; do
    rotate || true
  done
  kill $! 2>/dev/null || true
) &

exec "$@" -g 'daemon off;'
