#!/bin/sh
# Learns XOR with one hidden layer of tanh units, in awk, from the weights that a seed draws.
# Usage: train.sh --lr=0.3 --momentum=0.9 --hidden=3 --epochs=500 --seed=0
# The last line is JSON: the loss, and how many of the four rows are right.

set -u
lr= momentum=0 hidden= epochs= seed=
for option; do
    case $option in
        --lr=*) lr=${option#*=} ;;
        --momentum=*) momentum=${option#*=} ;;
        --hidden=*) hidden=${option#*=} ;;
        --epochs=*) epochs=${option#*=} ;;
        --seed=*) seed=${option#*=} ;;
        *)
            echo "unknown option $option" >&2
            exit 2
            ;;
    esac
done

exec awk -v lr="$lr" -v momentum="$momentum" -v hidden="$hidden" -v epochs="$epochs" \
    -v seed="$seed" '
function uniform() {  # Park and Miller, so that every awk draws the same
    state = (state * 16807) % 2147483647
    return 2 * state / 2147483647 - 1
}
function tanh(z) {
    if (z > 20) return 1
    if (z < -20) return -1
    return (exp(2 * z) - 1) / (exp(2 * z) + 1)
}
BEGIN {
    state = seed % 2147483646 + 1
    for (i = 0; i < 10; i++) uniform()
    size = 4 * hidden + 1  # for each unit two weights, a bias and a weight of the output
    for (i = 1; i <= size; i++) w[i] = uniform()
    for (epoch = 1; epoch <= epochs; epoch++) {
        for (i = 1; i <= size; i++) gradient[i] = 0
        loss = right = 0
        for (row = 0; row < 4; row++) {
            x = row % 2; y = int(row / 2); target = (x != y) ? 1 : -1
            out = w[size]
            for (j = 0; j < hidden; j++) {
                h[j] = tanh(w[4*j+1] * x + w[4*j+2] * y + w[4*j+3])
                out += w[4*j+4] * h[j]
            }
            error = out - target
            loss += error * error / 4
            right += out * target > 0
            gradient[size] += error / 2
            for (j = 0; j < hidden; j++) {
                back = error / 2 * w[4*j+4] * (1 - h[j] * h[j])
                gradient[4*j+1] += back * x
                gradient[4*j+2] += back * y
                gradient[4*j+3] += back
                gradient[4*j+4] += error / 2 * h[j]
            }
        }
        if (loss > 1e6) { print "the loss is " loss " in epoch " epoch; loss = "nan"; break }
        for (i = 1; i <= size; i++) {
            step[i] = momentum * step[i] + gradient[i]
            w[i] -= lr * step[i]
        }
    }
    printf "{\"loss\": %s, \"right\": %d}\n", loss, right
}'
