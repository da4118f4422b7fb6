#!/bin/bash
# ci.sh: what has to pass before a change lands. Ends with the line of `make test`.
set -eu

cd "$(dirname "$0")/../.."
jobs=$(nproc 2>/dev/null || echo 2)
step() {
  echo "== $*"
  "$@"
}
m() { step make --no-print-directory "$@"; }

m format-check
m lint
m check-layers
# Without warnings: both compilers, with and without optimisation.
for cc in gcc clang; do
  for mode in release debug; do
    m -s -j"$jobs" CC=$cc MODE=$mode WERROR=-Werror B=build/ci/$cc-$mode _test-build
  done
done
m check-symbols
m test-seeds
m test-gc
m test-oom
m fuzz-smoke
m asan
m tsan
m test
