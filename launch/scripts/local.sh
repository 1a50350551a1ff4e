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

stop() {
  stopped=1
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null || true; fi
}
trap stop TERM INT USR1

tried=0
while :; do
  jamflow train "$@" &
  child=$!
  code=0
  wait "$child" || code=$?
  while kill -0 "$child" 2>/dev/null; do # a signal ended the waiting, not the training
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
