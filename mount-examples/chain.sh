#!/bin/sh
# A chain of two agents: the first one's answer is the second one's prompt, below words of its own.
#   git diff | chain.sh claude 'What may this change break?' codex 'Is this right? Prove it.'
# The first has standard input below its words. Without an answer of the first the second is not
# asked.
set -eu
usage='usage: chain.sh FIRST PROMPT SECOND PROMPT < TEXT'
first=${1:?$usage} task=${2:?$usage} second=${3:?$usage} next=${4:?$usage}
here=$(dirname "$0")

answer=$({ printf '%s\n\n' "$task" && cat; } | "$here/ask.sh" "$first")
printf '%s\n\n%s\n' "$next" "$answer" | "$here/ask.sh" "$second"
