#!/bin/sh
# Run by cron: a command in a session of its own, its transcript kept, mail only on failure.
set -eu
mux=${MUX:-/mux}
session=$mux/.self/nightly
command=${1:-'cd ~/src/project && make test'}

mkdir "$session" 2>/dev/null || true # it is there from the night before: use it again
echo "$command; echo nightly ended with \$?" > "$session/input"
cat "$session/wait" > /dev/null
last=$(grep 'nightly ended with [0-9]' "$session/output" | tail -n 1)
case $last in
*'ended with 0') ;;
*)
  # What a cron job prints is mailed to its owner.
  tail -n 40 "$session/output"
  exit 1
  ;;
esac
