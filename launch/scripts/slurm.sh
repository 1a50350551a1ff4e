#!/usr/bin/env bash
# GPUs of a SLURM cluster. Options of sbatch come before the file and beat those below; all words after it go to `jamflow train`.
#
#     sbatch --nodes=8 --gpus-per-node=8 --time=24:00:00 launch/scripts/slurm.sh --config configs/base.py --config.data.path=data/mine --workdir runs/mine
#
# One process a node that sees all its GPUs; one process a GPU: add --ntasks-per-node=8. The workdir must be on a disk that all nodes
# see. Before the time limit and on preemption the training saves; the job is queued again by itself and goes on.
#SBATCH --job-name=jamflow
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# five minutes before the end this shell gets SIGUSR1: more than a step and a checkpoint take
#SBATCH --signal=B:USR1@300
set -uo pipefail

# SLURM lets no script outlive its job, so the environment is the one that sbatch was called in: activate it before.
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export JAX_COORDINATOR_ADDRESS="$first:$((61440 + SLURM_JOB_ID % 4096))"

# JAX gives every process of a SLURM step one GPU, by its number on the node. A process that is alone there takes them all.
gpus="${SLURM_GPUS_ON_NODE:-0}"
if [ "${SLURM_NTASKS_PER_NODE:-1}" = 1 ] && [ "$gpus" -gt 0 ]; then
  JAX_LOCAL_DEVICE_IDS="$(seq -s, 0 $((gpus - 1)))"
  export JAX_LOCAL_DEVICE_IDS
fi

stopped=""
# shellcheck disable=SC2329 # called by trap
stop() {
  stopped=1
  signalled=1
  # to all processes of the step, and not to this shell: each saves its part and ends
  scancel --signal=TERM "$SLURM_JOB_ID"
}
trap stop USR1 TERM

srun --kill-on-bad-exit=1 jamflow train "$@" &
step=$!
signalled=1
while [ -n "$signalled" ]; do # a signal ends the waiting, not the step: its code is asked for again, also when it has ended meanwhile
  signalled=""
  code=0
  wait "$step" || code=$?
done

# 0 finished, 3 finished with damaged records, 1 and 2 nothing that another try would mend; anything else is a node or a process lost
if [ -n "$stopped" ] || [ "$code" -gt 3 ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt "${RESTARTS:-100}" ]; then
    echo "queued again after exit code $code${stopped:+, stopped on time}" >&2
    scontrol requeue "$SLURM_JOB_ID"
  fi
fi
exit "$code"
