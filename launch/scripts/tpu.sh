#!/usr/bin/env bash
# A TPU slice: the same command on all its workers, through gcloud.
#
#     TPU=my-slice ZONE=us-east5-a bash launch/scripts/tpu.sh setup
#     TPU=my-slice ZONE=us-east5-a bash launch/scripts/tpu.sh --config configs/base.py --config.data.path=gs://B/data --workdir gs://B/runs/mine
#
# `setup` copies this checkout to every worker and installs it there. Otherwise all words go to `jamflow train`, the processes find each
# other by themselves. When the connection or a worker is lost the command is sent again, at most RESTARTS times (default 100): a
# worker where the earlier one still runs waits for its end, and training goes on from its checkpoint. Ctrl-C ends this script and
# leaves the workers alone; `tpu.sh stop` lets them save and end.
set -uo pipefail

: "${TPU:?name the slice: TPU=my-slice ZONE=us-east5-a bash $0 ...}"
: "${ZONE:?name its zone: TPU=$TPU ZONE=us-east5-a bash $0 ...}"
restarts="${RESTARTS:-100}"
where=(--zone "$ZONE")
if [ -n "${PROJECT:-}" ]; then where+=(--project "$PROJECT"); fi

everywhere() {
  gcloud compute tpus tpu-vm ssh "$TPU" "${where[@]}" --worker=all --command "$1"
}

case "${1:-}" in
  setup)
    root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
    archive="$(mktemp -d)/jamflow.tar.gz"
    git -C "$root" archive --format=tar.gz --output="$archive" HEAD || exit 1
    gcloud compute tpus tpu-vm scp "$archive" "$TPU:jamflow.tar.gz" "${where[@]}" --worker=all || exit 1
    everywhere 'mkdir -p jamflow && tar -xzf jamflow.tar.gz -C jamflow && python3 -m venv jamflow/.venv && jamflow/.venv/bin/pip install --quiet --editable "jamflow[tpu,gcs]"'
    exit
    ;;
  stop)
    # shellcheck disable=SC2016 # the worker expands it
    everywhere 'test ! -f jamflow/train.pid || kill -TERM "$(cat jamflow/train.pid)"'
    exit
    ;;
esac

words="$(printf '%q ' "$@")"
# The training's own verdicts come back as 101 to 103, so that they are not taken for those of gcloud or ssh.
remote="cd jamflow && flock train.lock bash -c 'echo \$\$ >train.pid; exec .venv/bin/jamflow train \"\$@\"' train $words"
remote="$remote; code=\$?; if [ \$code -ge 1 ] && [ \$code -le 3 ]; then exit \$((100 + code)); fi; exit \$code"
# what does not work at all will not work the hundredth time: a wrong name or zone, no account
everywhere true || { echo "error: the workers of $TPU in $ZONE cannot be reached; what gcloud said is above" >&2; exit 1; }
tried=0
while :; do
  code=0
  everywhere "$remote" || code=$?
  case "$code" in
    0) exit 0 ;; # finished
    101 | 102 | 103) exit $((code - 100)) ;; # 3: finished, some records damaged; 1 and 2: nothing that another try would mend
  esac
  if [ "$tried" -ge "$restarts" ]; then exit "$code"; fi
  tried=$((tried + 1))
  echo "exit code $code: sending the command again, $tried of $restarts" >&2
  sleep "${PAUSE:-30}"
done
