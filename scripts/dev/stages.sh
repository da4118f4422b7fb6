#!/bin/bash
# stages.sh DIR STAGE...: runs the make targets _STAGE, $JOBS at a time, each into
# DIR/STAGE.log, and adds up the line "N passed, M failed" that ends each log. What
# failed is shown in full. The last line has the totals.
set -u

dir=$1
shift
mkdir -p "$dir"
jobs=${JOBS:-2}
passed=0 failed=0
declare -A name_of

# Adds the counts of a stage that has ended; a stage that says nothing, or that
# failed without saying so, counts as one failure.
collect() { # stage status
  local log=$dir/$1.log line p=0 f=0
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  if [ -n "$line" ]; then
    read -r p _ f _ <<<"$line"
  fi
  if [ "$2" != 0 ] || [ -z "$line" ]; then
    [ "$f" = 0 ] && f=1
  fi
  passed=$((passed + p))
  failed=$((failed + f))
  if [ "$f" = 0 ]; then
    printf '  ok    %-12s %4d passed\n' "$1" "$p"
  else
    printf '  FAIL  %-12s %4d passed, %d failed:\n' "$1" "$p" "$f"
    sed 's/^/    /' "$log"
  fi
}

reap() {
  local pid status
  wait -n -p pid
  status=$?
  collect "${name_of[$pid]}" "$status"
  running=$((running - 1))
}

running=0
for stage in "$@"; do
  while [ "$running" -ge "$jobs" ]; do reap; done
  "${MAKE:-make}" --no-print-directory -s "MODE=${MODE:-debug}" "_$stage" \
    >"$dir/$stage.log" 2>&1 </dev/null &
  name_of[$!]=$stage
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do reap; done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
