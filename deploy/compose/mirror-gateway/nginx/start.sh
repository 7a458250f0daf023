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

told='' before='' # what tells the log to the engine, and what did so before the last rotation

tell() { # from line $1 on
  before=$told
  tail -n "$1" -f "$logs/access.log" &
  told=$!
}

rotate() {
  [ -n "$(find "$logs/access.log" -size +"$largest")" ] || return 0
  mv -f "$logs/access.log" "$logs/access.log.1"
  touch "$logs/access.log"
  tell +1
  kill -USR1 "$master" # nginx goes on in the next one; what it still wrote to the last one is told meanwhile
}

(
  tell 0
  while sleep 2 && kill -0 "$master" 2>/dev/null; do
    [ -z "$before" ] || kill "$before" 2>/dev/null || true
    before=''
    rotate || true
  done
  kill "$told" ${before:+"$before"} 2>/dev/null || true
) &

exec "$@" -g 'daemon off;'
