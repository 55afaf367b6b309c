#!/bin/sh
# From a specification to checked work. An agent plans: each line of its plan is a prompt to the
# agent that builds. After each step a command, which no agent can talk round, says whether it is
# done; what it prints goes back to the builder, three times at most.
#   spec.sh SPEC.md 'make test' claude codex
set -eu
usage='usage: spec.sh SPEC CHECK PLANNER [BUILDER]'
spec=${1:?$usage} check=${2:?$usage} planner=${3:?$usage} builder=${4:-$3} tries=${TRIES:-3}
here=$(dirname "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

{
  echo 'Plan how to build what is specified below, in at most nine steps that each pass the check'
  echo "\`$check\`. Answer with one line a step, as \"1. What to do\". Change no file yet."
  cat "$spec"
} | "$here/ask.sh" "$planner" > "$dir/answer"
sed -n 's/^[^[:alnum:]]*[0-9]\{1,2\}[.)][[:space:]]*//p' "$dir/answer" > "$dir/plan"
[ -s "$dir/plan" ] || { echo 'spec: this is no plan:' && cat "$dir/answer" && exit 1; } >&2

while IFS= read -r step <&3; do
  echo "== $step"
  printf '%s\n(a step of %s)\n' "$step" "$spec" | "$here/ask.sh" "$builder"
  left=$tries
  until sh -c "$check" < /dev/null > "$dir/check" 2>&1; do
    [ "$left" -gt 0 ] || { echo "spec: \`$check\` still fails:" && cat "$dir/check" && exit 1; } >&2
    left=$((left - 1))
    echo "== \`$check\` fails"
    { echo "\`$check\` fails; mend it:" && tail -n 50 "$dir/check"; } | "$here/ask.sh" "$builder"
  done
done 3< "$dir/plan"
