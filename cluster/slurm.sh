#!/bin/bash
# One search on some nodes of a Slurm cluster: sbatch cluster/slurm.sh SPACE OUTPUT [options]
# OUTPUT lies on storage that outlives the job. See docs/cluster.md.
#SBATCH --job-name=xortune
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=B:INT@180
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail
space=$1
output=$2
shift 2

# Whoever knows the token can run code on these nodes, and nobody else on the network can.
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | sha256sum | cut -c 1-64)
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs may share a node

srun --nodes=1 --ntasks=1 --overlap -w "${nodes[0]}" ray start --head --block \
  --node-ip-address="$head" --port="$port" --include-dashboard=false \
  --num-cpus="$SLURM_CPUS_PER_TASK" &
until ray health-check --address "$head:$port" 2> /dev/null; do sleep 1; done
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --overlap -w "$node" ray start --block \
    --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" &
done

# Three minutes before the time is up, and when the job is preempted, the search is told as by
# Ctrl-C: it writes its tables and ends with 3, and the job queues again to go on with --resume.
search=
trap '[ -z "$search" ] || kill -INT "$search"' INT TERM
# Nodes that come up later are used as soon as they are there. Job control is for the signal: what
# a script starts in the background would ignore it otherwise.
set -m
xortune search "$space" --output "$output" --address "$head:$port" --resume "$@" &
search=$!
set +m
while kill -0 "$search" 2> /dev/null; do
  wait "$search" || true # the signal ends the wait before the search has ended
done
code=0
wait "$search" || code=$? # bash remembers
if [ "$code" -eq 3 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
