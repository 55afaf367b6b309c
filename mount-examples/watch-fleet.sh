#!/bin/sh
# Every session of every machine, shown anew whenever something happens. No polling: `events`
# blocks until there is something to tell. Ends with Ctrl-C, or when the mount goes.
set -eu
mux=${MUX:-/mux}

show() {
  [ ! -t 1 ] || printf '\033[H\033[2J'
  cat "$mux"/*/index
}

dir=$(mktemp -d)
pids=
# shellcheck disable=SC2086 # several pids
trap 'kill $pids 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkfifo "$dir/all"
for events in "$mux"/*/events; do
  cat "$events" > "$dir/all" &
  pids="$pids $!"
done
show
while read -r _event; do
  show
done < "$dir/all"
