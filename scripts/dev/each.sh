#!/bin/bash
# each.sh DIR LIST COMMAND ARG...: runs the command, which ends with "N passed, M failed",
# for each word of LIST, in the place of {} in its words, $JOBS at a time, each into a
# log of its own in DIR. Shows in full what failed. Ends with the sums.
set -u

dir=$1 list=$2
shift 2
rm -rf "$dir"
mkdir -p "$dir"
# shellcheck disable=SC2086,SC2016 # a list of words; expanded by that shell
printf '%s\n' $list |
  xargs -P "${JOBS:-2}" -I {} \
    sh -c 'log=$0/$(basename "$1").log; shift; "$@" >"$log" 2>&1' \
    "$dir" {} "$@"

passed=0 failed=0
for word in $list; do
  log=$dir/$(basename "$word").log
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  read -r p _ f _ <<<"${line:-0 passed, 1 failed}"
  if [ "$f" != 0 ]; then
    echo "$word: ${*//\{\}/$word}"
    sed 's/^/    /' "$log"
  fi
  passed=$((passed + p))
  failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
