#!/bin/sh
# The same prompt to every session of every machine, or to those a pattern names:
#   broadcast.sh 'git pull' 'web-*'
set -eu
mux=${MUX:-/mux}
prompt=${1:?usage: broadcast.sh PROMPT [PATTERN]}
pattern=${2:-*}

failed=0
# Unquoted on purpose: the pattern is to be expanded. Dot names (.self) are no machines.
# shellcheck disable=SC2086,SC2231
for input in "$mux"/*/$pattern/input; do
  [ -e "$input" ] || continue
  # A refusal (the session is gone, the prompt too large) fails here, and the others go on.
  printf '%s\n' "$prompt" > "$input" || failed=1
done
exit $failed
