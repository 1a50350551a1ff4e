#!/usr/bin/env bash
# One machine, all its accelerators; also what a container runs (jamflow launch --launcher gke).
#
#     bash launch/scripts/local.sh --config configs/base.py --config.data.path=data/mine --workdir runs/mine
#
# All words go to `jamflow train`. SIGTERM, SIGINT and SIGUSR1 let it save; the exit code is then 143: not finished, the same line
# goes on. RESTARTS=N starts a training that died (killed, out of memory, a driver) again, at most N times; what is wrong with the
# command or the data (exit codes 2 and 1) is not tried again. REJECTED_IS_CLEAN=1 turns exit code 3 (finished, some records
# damaged) into 0, for schedulers that know no third way.
set -uo pipefail

restarts="${RESTARTS:-0}"
child=""
stopped=""
told=""

tell() {
  if [ -n "$child" ]; then
    told=1
    kill -TERM "$child" 2>/dev/null || true
  fi
}

stop() {
  stopped=1
  signalled=1
  tell
}
trap stop TERM INT USR1

tried=0
while :; do
  jamflow train "$@" &
  child=$!
  if [ -n "$stopped" ] && [ -z "$told" ]; then tell; fi # the signal came before the training's number was known
  signalled=1
  while [ -n "$signalled" ]; do # a signal ends the waiting, not the training: its code is asked for again
    signalled=""
    code=0
    wait "$child" || code=$?
  done
  child=""
  if [ -n "$stopped" ]; then exit 143; fi
  case "$code" in
    0 | 1 | 2) exit "$code" ;;
    3) if [ -n "${REJECTED_IS_CLEAN:-}" ]; then exit 0; else exit 3; fi ;;
  esac
  if [ "$tried" -ge "$restarts" ]; then exit "$code"; fi
  tried=$((tried + 1))
  echo "training ended with exit code $code; starting it again, $tried of $restarts" >&2
done
