#!/bin/sh
# Asks every line of a file, and writes the answer to line 7 to ANSWERS/0007.txt. What is answered
# is not asked again, so it can be ended and run again. Several sessions share the lines.
#   eval.sh prompts.txt answers claude-1 claude-2
# It fails if a line is left without its answer.
set -eu
usage='usage: eval.sh PROMPTS ANSWERS SESSION...'
prompts=${1:?$usage} answers=${2:?$usage} here=$(dirname "$0")
shift 2
: "${1:?$usage}"
mkdir -p "$answers"
exec 9> "$answers/.lock"
flock -n 9 || { echo "eval: another run fills $answers" >&2 && exit 1; }

ask_lines() { # SESSION FIRST STEP: every STEPth line from FIRST on
  line=0 failed=0
  while IFS= read -r prompt || [ -n "$prompt" ]; do
    line=$((line + 1))
    file=$answers/$(printf %04d "$line").txt
    if [ $(((line - $2) % $3)) != 0 ] || [ -z "$prompt" ] || [ -e "$file" ]; then continue; fi
    if printf '%s\n' "$prompt" | "$here/ask.sh" "$1" > "$file.part"; then
      mv "$file.part" "$file" # whole, or not at all
    else
      failed=$?
      rm "$file.part"
      echo "eval: line $line has no answer" >&2
      [ $failed != 3 ] || { echo "eval: $1 leaves the rest of its lines" >&2 && return 3; }
    fi
  done < "$prompts"
  return $failed
}

pids='' first=0 failed=0
trap 'kill $pids' INT TERM
for session; do
  first=$((first + 1))
  ask_lines "$session" $first $# &
  pids="$pids $!"
done
for pid in $pids; do
  wait "$pid" || failed=1
done
exit $failed
