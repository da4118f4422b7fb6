#!/bin/bash
# seeds.sh DIR HOST ARG...: runs busted under each seed of $SEEDS, $JOBS at a time, each
# into DIR/SEED.log. What failed is shown in full. Ends with "N passed, M failed".
set -u

dir=$1
shift
rm -rf "$dir"
mkdir -p "$dir"
# shellcheck disable=SC2086,SC2016 # a list of numbers; expanded by that shell
printf '%s\n' ${SEEDS:-$(seq 1 20)} |
  xargs -P "${JOBS:-2}" -I {} \
    sh -c 'log=$1/{}.log; shift; SEED={} "$0" "$@" >"$log" 2>&1' \
    scripts/dev/busted.sh "$dir" "$@"

passed=0 failed=0
for log in "$dir"/*.log; do
  seed=$(basename "$log" .log)
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  read -r p _ f _ <<<"${line:-0 passed, 1 failed}"
  if [ "$f" != 0 ]; then
    echo "seed $seed, which SEED=$seed make test-lua replays:"
    sed 's/^/    /' "$log"
  fi
  passed=$((passed + p))
  failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
