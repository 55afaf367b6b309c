#!/bin/sh
# Run by cron: a prompt to an agent, its answer kept as DIR/DATE.md. Prints, which cron mails,
# only where there is no answer. The date is the prompt's name: it is asked once a night however
# often this runs, and a run after a failure asks again.
#   nightly.sh SESSION DIR PROMPT
set -eu
usage='usage: nightly.sh SESSION DIR PROMPT'
session=${1:?$usage} dir=${2:?$usage} prompt=${3:?$usage}
here=$(dirname "$0")
date=$(date +%Y-%m-%d)
answer=$dir/$date.md

[ ! -e "$answer" ] || exit 0
mkdir -p "$dir"
trap 'rm -f "$answer.$$"' EXIT
printf '%s\n' "$prompt" | timeout "${LIMIT:-4h}" "$here/ask.sh" "$session" "nightly-$date" > "$answer.$$" || {
  status=$?
  echo "nightly: no answer (exit status $status); what $session shows:"
  tail -n 40 "${MUX:-/mux}/.self/$session/output"
  exit "$status"
}
mv "$answer.$$" "$answer"
