#!/bin/bash
# Sends a small search to a real job server on this machine, by `xortune submit` and by the line that
# `--dry-run` prints: cluster/check_submit.sh. Needs `pip install "ray[default]"` beside xortune.
set -euo pipefail

folder=$(mktemp -d /tmp/xtXXXX) # short, for the sake of sockets
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
port=$((20000 + RANDOM % 10000))
server=http://127.0.0.1:$((port + 1))
ray start --head --block --port="$port" --temp-dir="$folder/ray" --num-cpus=2 \
  --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port="$((port + 1))" \
  > "$folder/head.log" 2>&1 &
head=$!
trap 'kill "$head"; wait "$head" || true; rm -rf "$folder"' EXIT
for _ in $(seq 60); do
  curl --silent --fail "$server/api/version" > /dev/null && break
  sleep 1
done

mkdir "$folder/spaces"
cat > "$folder/spaces/small.yaml" << 'SPACE'
name: small
epochs: 50
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: BCELoss
  optimizer: Adam
  lr: {low: 0.05, high: 1.0, log: true}
  hidden_dim: 3
search: {sampler: random, trials: 5, seed: 7}
seeds: {ladder: [8]}
SPACE
xortune=(python -m xortune)
"${xortune[@]}" submit "$folder/spaces/small.yaml" --address "$server" --output "$folder/a" \
  --trial-timeout 5m --wait
line=$("${xortune[@]}" submit "$folder/spaces/small.yaml" --address "$server" \
  --output "$folder/b" --trial-timeout 5m --dry-run)
echo "$line"
bash -c "${line/ --no-wait/}" # Ray's own tool waits for the end without it
cmp "$folder/a/table.csv" "$folder/b/table.csv"
echo "both ways, the same table"
