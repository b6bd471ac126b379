#!/bin/sh
# Start (or go on with) one decoder's training in the background: train/background.sh small [options of train.run]
# PYTHON names the interpreter; the log and the process id stand beside the state.
set -eu
cd "$(dirname "$0")/.."
home="${PAIR_HOME:-$HOME/.cache/reasoning-orchestrator/train}"
mkdir -p "$home/$1"
if [ -f "$home/$1/pid" ] && kill -0 "$(cat "$home/$1/pid")" 2>/dev/null; then
    echo "$1 is already being trained by process $(cat "$home/$1/pid")" >&2
    exit 1
fi
PYTHONPATH="..${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 setsid nohup nice -n 19 "${PYTHON:-python3}" -m train.run "$@" \
    >> "$home/$1/out.log" 2>&1 < /dev/null &
echo $! > "$home/$1/pid"
echo "$1: process $(cat "$home/$1/pid"), log $home/$1/log.jsonl"
