#!/bin/bash
# bench.sh HOST NAME...: runs scripts/bench/NAME.lua, one line of result each:
# workload, program, operations, seconds, operations per second, peak memory in KB.
set -u

host=$1
shift
export PEER=neap
for name in "$@"; do
  case $name in
    spawn) args=(1000000) ;;
    idle) args=(100000 3) ;;
    idle1m) name=idle args=(1000000 15) ;;
    switch) args=(5000000) ;;
    gather) args=(1000) ;;
    queue) args=(2000000) ;;
    lock) args=(1000000) ;;
    *) args=() ;;
  esac
  if [ "$name" = startup ]; then
    count=200
    start=$(date +%s%N)
    for ((i = 0; i < count; i++)); do
      "$host" scripts/bench/startup.lua >/dev/null
    done
    ns=$(($(date +%s%N) - start))
    awk -v n=$count -v ns=$ns 'BEGIN {
      printf "startup neap %d %.3f %.0f -\n", n, ns / 1e9, n / (ns / 1e9) }'
  else
    "$host" "scripts/bench/$name.lua" "${args[@]}"
  fi
done
