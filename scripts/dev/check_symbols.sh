#!/bin/bash
# check_symbols.sh BUILD LIST: compares what libneap.so and neap.so export with the
# committed list, and with the functions that neap.h declares.
set -u

build=$1 list=$2
status=0
exported() {
  nm -D --defined-only "$1" | awk '$2 ~ /[TDBRW]/ {print $3}' |
    sed 's/@.*//' | LC_ALL=C sort
}
declared() {
  tr '\n' ' ' <src/include/neap.h | grep -oE 'NEAP_API [^;(]*\(' |
    sed -E 's/.*[ *]([a-z_0-9]+) ?\($/\1/' |
    grep -v '^__' | LC_ALL=C sort -u
}
for library in libneap.so neap.so; do
  if ! diff -u "$list" <(exported "$build/$library"); then
    echo "$library exports other symbols than $list names"
    status=1
  fi
done
if ! diff -u "$list" <(declared); then
  echo "neap.h declares other functions than $list names"
  status=1
fi
if readelf -d "$build/neap.so" | grep NEEDED | grep -q liblua; then
  echo "neap.so must not need liblua"
  status=1
fi
for library in libneap.so neap.so; do
  if ! readelf -d "$build/$library" | grep -q NODELETE; then
    echo "$library must stay loaded: threads may be in it"
    status=1
  fi
done
exit $status
