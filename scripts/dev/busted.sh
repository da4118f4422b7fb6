#!/bin/bash
# busted.sh INTERPRETER ARG...: runs busted and ends with "N passed, M failed".
# STOCK_ENV: variables for the interpreter alone, as NAME=VALUE words.
set -u

interpreter=$1
shift
# Sanitizers and full collections make tests slow, and so does a busy machine.
export NEAP_TEST_TIMEOUT=${NEAP_TEST_TIMEOUT:-120}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
read -ra extra <<<"${STOCK_ENV:-}"
env "${extra[@]}" timeout -k 5 "${LIMIT:-1200}" "$interpreter" "$@" \
  --output=plainTerminal >"$log" 2>&1 </dev/null
status=$?
cat "$log"
[ "$status" = 124 ] && echo "busted ran into the time limit"
summary=$(grep -E '^[0-9]+ success(es)? / [0-9]+ failures? / [0-9]+ errors?' \
  "$log" | tail -n 1)
read -r passed _ _ failures _ _ errors _ <<<"${summary:-0 x x 1 x x 0 x}"
failed=$((failures + errors))
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
  echo "busted ended with exit code $status"
  failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
