#!/bin/sh
# One prompt, and its answer or the reason why there is none. Most of the other examples call it.
#   ask.sh SESSION [NAME] < PROMPT > ANSWER
# SESSION, which is NAME or NODE/NAME, is made where it is missing. A prompt with a NAME is asked
# once: whoever asks it again, now or after a crash, gets the same turn's answer; only where that
# turn ended without one is it asked anew. Exit status: 1 no answer, 3 the agent cannot go on.
set -eu
session=${1:?usage: ask.sh SESSION [NAME] < PROMPT} name=${2:-ask-$(date +%s)-$$} n=1
case $session in */*) s=${MUX:-/mux}/$session ;; *) s=${MUX:-/mux}/.self/$session ;; esac

state_of() { sed -n 's/^state: //p' "$1/status" 2> /dev/null || :; } # empty: gone, or not yet there

# Not mkdir -p, which changes its directory on the way: a session begins where its maker stands.
[ -d "$s" ] || mkdir "$s" 2> /dev/null || [ -d "$s" ] || mkdir "$s"
exec 4< "$s/events" # from here on nothing is missed
turn=$s/turns/$name
until case $(state_of "$turn") in interrupted | timed* | uncertain | withdrawn | failed) false ;; esac; do
  n=$((n + 1)) turn=$s/turns/$name.$n
done
if [ ! -d "$turn" ]; then
  cat > "$s/queue/${turn##*/}" || : # of several writers the first makes it; it is the others' too
  [ -d "$turn" ] || { echo "ask: $session took no prompt: see ${s%/*}/errors" >&2 && exit 1; }
  trap 'rm -f "$s/queue/${turn##*/}"' EXIT # taken back if it still waits when nobody waits for it
  trap 'exit 143' HUP INT TERM
fi

# Until the turn is over, or the agent is stuck: a fresh look says whether it still is.
while case $(state_of "$turn") in queued | typing | running) ;; *) false ;; esac; do
  case $(state_of "$s") in
  blocked | limited | exited* | stopped) [ "$(cat "$s/wait")" = ready ] || break ;;
  *) read -r _event <&4 || break ;;
  esac
done
end=$(state_of "$turn") state=$(state_of "$s")
[ "$end" != 'done' ] || exec cat "$turn/reply"
echo "ask: no answer from $session: the turn ${turn##*/} is ${end:-lost}, the agent ${state:-gone}" >&2
case $state in
blocked) cat "$s/question" >&2 ;;
limited) grep '^until: ' "$s/status" >&2 ;;
starting | ready | busy | unknown) exit 1 ;;
esac
exit 3
