#!/bin/bash
# ctest.sh PROGRAM...: runs C tests. A program passes by exit code 0; one that ends
# its output with "N passed, M failed" is counted by that line.
set -u

passed=0 failed=0
for program in "$@"; do
  output=$(timeout -k 5 "${LIMIT:-600}" "$program" 2>&1 </dev/null)
  status=$?
  p=0 f=0
  line=$(tail -n 1 <<<"$output")
  if [[ $line =~ ^[0-9]+\ passed,\ [0-9]+\ failed$ ]]; then
    read -r p _ f _ <<<"$line"
  elif [ "$status" = 0 ]; then
    p=1
  fi
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  passed=$((passed + p)) failed=$((failed + f))
  if [ "$f" = 0 ]; then
    echo "ok    ${program##*/}"
  else
    echo "FAIL  ${program##*/} (exit code $status)"
    printf '%s\n' "$output" | sed 's/^/  /'
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
