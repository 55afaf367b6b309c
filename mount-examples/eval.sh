#!/bin/sh
# Asks every line of a file, and writes the answer to line 7 to ANSWERS/0007.txt. What is answered
# is not asked again, so it can be ended and run again. Several sessions share the lines.
#   eval.sh prompts.txt answers claude-1 claude-2
# It fails if a line is left without its answer.
set -eu
usage='usage: eval.sh PROMPTS ANSWERS SESSION...'
prompts=${1:?$usage} answers=${2:?$usage}
shift 2
: "${1:?$usage}"
here=$(dirname "$0")
mkdir -p "$answers"
exec 9> "$answers/.lock"
flock -n 9 || { echo "eval: another run fills $answers" >&2 && exit 1; }

# Lines START, START + STEP, …, in SESSION.
ask_lines() { # SESSION START STEP
  line=0 failed=0
  while IFS= read -r prompt || [ -n "$prompt" ]; do
    line=$((line + 1))
    file=$answers/$(printf %04d "$line").txt
    if [ $((line % $3)) != $(($2 % $3)) ] || [ -z "$prompt" ] || [ -e "$file" ]; then
      continue
    fi
    printf '%s\n' "$prompt" | "$here/ask.sh" "$1" > "$file.part" || {
      failed=$?
      rm "$file.part"
      echo "eval: line $line has no answer" >&2
      [ $failed != 3 ] || { echo "eval: $1 leaves the rest of its lines" >&2 && return 3; }
      continue
    }
    mv "$file.part" "$file" # whole, or not at all
  done < "$prompts"
  return $failed
}

pids='' start=0
trap 'kill $pids' INT TERM
for session; do
  start=$((start + 1))
  ask_lines "$session" $start $# &
  pids="$pids $!"
done
failed=0
for pid in $pids; do
  wait "$pid" || failed=1
done
exit $failed
