#!/bin/sh
# One prompt, and its answer or the reason why there is none. Most of the other examples call it.
#   ask.sh SESSION [NAME] < PROMPT > ANSWER
# SESSION is NAME or NODE/NAME, and is made where it is missing. A prompt with a NAME is asked
# once: whoever asks it again, at the same time or after a crash, gets the answer of that turn;
# only where that turn ended without one is it asked anew.
# Exit status: 1 no answer to this prompt, 3 the agent itself cannot go on.
set -eu
session=${1:?usage: ask.sh SESSION [NAME] < PROMPT}
name=${2:-ask-$(date +%s)-$$}
mux=${MUX:-/mux}
case $session in */*) s=$mux/$session ;; *) s=$mux/.self/$session ;; esac

state_of() {
  sed -n 's/^state: //p' "$1/status" 2> /dev/null || : # it is gone, or not there yet
}

# Not mkdir -p, which changes its directory on the way: a session begins where its maker stands.
[ -d "$s" ] || mkdir "$s" 2> /dev/null || [ -d "$s" ] || mkdir "$s"
exec 4< "$s/events" # from here on nothing is missed
turn=$s/turns/$name n=1
until case $(state_of "$turn") in interrupted | timed* | uncertain | withdrawn | failed) false ;; esac; do
  n=$((n + 1)) turn=$s/turns/$name.$n
done
if [ ! -d "$turn" ]; then
  # The first of several writers makes the name; the others find its turn.
  cat > "$s/queue/${turn##*/}" || :
  [ -d "$turn" ] || { echo "ask: $session took no prompt: see ${s%/*}/errors" >&2 && exit 1; }
  # Taken back if it still waits when nobody waits for it any more.
  trap 'rm -f "$s/queue/${turn##*/}"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' HUP TERM
fi

# Until the turn is over, or the agent is stuck: a fresh look says whether it still is.
while case $(state_of "$turn") in queued | typing | running) ;; *) false ;; esac; do
  case $(state_of "$s") in
  blocked | limited | exited* | stopped) [ "$(cat "$s/wait")" = ready ] || break ;;
  *) read -r _event <&4 || break ;;
  esac
done
end=$(state_of "$turn")
if [ "$end" = 'done' ]; then
  cat "$turn/reply"
  exit
fi
state=$(state_of "$s")
echo "ask: no answer from $session: the turn ${turn##*/} is ${end:-lost}, the agent ${state:-gone}" >&2
case $state in
blocked) cat "$s/question" >&2 ;;
limited) grep '^until: ' "$s/status" >&2 ;;
starting | ready | busy | unknown) exit 1 ;;
esac
exit 3
