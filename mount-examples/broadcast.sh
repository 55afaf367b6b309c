#!/bin/sh
# The same prompt to every session of every machine, or to those a pattern names:
#   broadcast.sh 'git pull' 'web-*'
set -eu
mux=${MUX:-/mux}
prompt=${1:?usage: broadcast.sh PROMPT [PATTERN]}
pattern=${2:-*}

# Unquoted on purpose: the pattern is to be expanded. Dot names (.self) are no machines.
# shellcheck disable=SC2086
set -- "$mux"/*/$pattern/input
[ -e "$1" ] || { echo "broadcast: no session $pattern" >&2 && exit 1; }
failed=0
# A refusal (the session is gone, the prompt too large) is told here, and the others have it.
printf '%s\n' "$prompt" | tee "$@" > /dev/null || failed=1

# It was taken by these too, but waits behind a question or a limit.
for input; do
  case $(sed -n 's/^state: //p' "${input%input}status" 2> /dev/null) in
  blocked | limited) echo "broadcast: ${input%/input} cannot go on: see its status" >&2 ;;
  esac
done
exit $failed
