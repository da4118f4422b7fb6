#!/bin/bash
# transfers.sh BUILD [ROUNDS]: large transfers, in the clear and over TLS, by
# scripts/bench/NAME.lua and in C (BUILD/bench_NAME), in turn. Pinned to one processor.
set -eu

build=$1
rounds=${2:-5}
KEEP=$(mktemp -d)
export KEEP
trap 'rm -rf "$KEEP"' EXIT
pin=()
if command -v taskset >/dev/null; then pin=(taskset -c 1); fi
for ((i = 0; i < rounds; i++)); do
  "${pin[@]}" "$build/bench_transfer" 4096
  "${pin[@]}" "$build/neap" scripts/bench/transfer.lua 4096
  "${pin[@]}" "$build/neap" scripts/bench/tls_transfer.lua 1000
  "${pin[@]}" "$build/bench_tls_transfer" "$KEEP/cert.pem" "$KEEP/key.pem" 1000
done
