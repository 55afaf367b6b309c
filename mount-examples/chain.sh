#!/bin/sh
# Two steps in two sessions: the second begins when the first is done, and only if it went well.
#   chain.sh 'make build' 'make deploy'
set -eu
mux=${MUX:-/mux}
first=${1:?usage: chain.sh FIRST SECOND}
second=${2:?usage: chain.sh FIRST SECOND}

# A step reports how it went through a file: the shell's state alone says only that it is done.
result=$(mktemp)
trap 'rm -f "$result"' EXIT

step() {
  mkdir "$mux/.self/$1" 2>/dev/null || true
  : > "$result"
  printf '{ %s\n} ; echo $? > %s\n' "$2" "$result" > "$mux/.self/$1/input"
  cat "$mux/.self/$1/wait" > /dev/null
  [ "$(cat "$result")" = 0 ]
}

step chain-1 "$first" || { echo "chain: the first step failed" >&2; exit 1; }
step chain-2 "$second" || { echo "chain: the second step failed" >&2; exit 1; }
