#!/bin/bash
# examples.sh BUILD EMBEDDED...: runs every scripts/*.lua in the host and every
# program made from scripts/embed/*.c, and compares what they print with
# spec/examples/NAME.out (spec/examples/embed_NAME.out). spec/examples/NAME.code
# holds the exit code where it is not 0. Where LUA names a stock Lua, the scripts run
# there, too (environment: STOCK_ENV). A module (embed/NAME.so) is loaded by
# scripts/embed/NAME.lua. A script with the line `-- test: SIGINT after "TEXT"` is sent
# that signal once it has printed a line that contains TEXT.
set -u

build=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command that is to be interrupted; its exit code. In the background SIGINT would
# be ignored, and `timeout` would send it twice if it were not in the foreground.
interrupted() { # signal text output error command...
  local signal=$1 text=$2 output=$3 error=$4 pid
  shift 4
  : >"$output"
  timeout --foreground -k 30 "${LIMIT:-120}" env --default-signal="${signal#SIG}" "$@" \
    >"$output" 2>"$error" </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if grep -qF -- "$text" "$output"; then
      kill -s "${signal#SIG}" "$pid"
      break
    fi
    sleep 0.05
  done
  wait "$pid"
}

# The output is compared byte by byte. A missing .out file is a failure too.
check() { # name[@host] command...
  local name=$1 script=${1%@*} status want=0
  local golden=spec/examples/$script.out
  local how='^-- test: \(SIG[A-Z0-9]*\) after "\(.*\)"$' signal='' text=''
  shift
  if [ -f "scripts/$script.lua" ]; then
    signal=$(sed -n "s/$how/\\1/p" "scripts/$script.lua")
    text=$(sed -n "s/$how/\\2/p" "scripts/$script.lua")
  fi
  if [ -n "$signal" ]; then
    interrupted "$signal" "$text" "$work/$name.out" "$work/$name.err" "$@"
    status=$?
  else
    timeout -k 5 "${LIMIT:-120}" "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null
    status=$?
  fi
  [ -f "spec/examples/$script.code" ] && want=$(cat "spec/examples/$script.code")
  if [ "$status" != "$want" ]; then
    echo "FAIL  $name (exit code $status, expected $want)"
    sed 's/^/  /' "$work/$name.err"
    echo
  elif ! diff -u "$golden" "$work/$name.out" >"$work/$name.diff" 2>&1; then
    echo "FAIL  $name"
    sed 's/^/  /' "$work/$name.diff" "$work/$name.err"
    echo
  else
    echo "ok    $name"
  fi
}

{
  for script in scripts/*.lua; do
    [ -f "$script" ] || continue
    name=${script##*/}
    name=${name%.lua}
    printf '%s\0' "$name" "$build/neap" "$script"
    printf '\0'
    [ -n "${LUA:-}" ] || continue
    # shellcheck disable=SC2086
    printf '%s\0' "$name@${LUA##*/}" env ${STOCK_ENV:-} "LUA_CPATH=$build/?.so;;" \
      "$LUA" "$script"
    printf '\0'
  done
  for program in "$@"; do
    name=${program##*/}
    case $name in
      *.so)
        name=${name%.so}
        printf '%s\0' "embed_$name" env "LUA_CPATH=$build/embed/?.so;;" \
          "$build/neap" "scripts/embed/$name.lua"
        ;;
      *) printf '%s\0' "embed_$name" "$program" ;;
    esac
    printf '\0'
  done
} >"$work/list"

# Most of them sleep: more at a time than there are processors.
running=0 command=()
while IFS= read -r -d '' word; do
  if [ -n "$word" ]; then
    command+=("$word")
    continue
  fi
  if [ "$running" -ge 4 ]; then
    wait -n
    running=$((running - 1))
  fi
  check "${command[@]}" >"$work/${command[0]}.result" &
  running=$((running + 1))
  command=()
done <"$work/list"
wait

cat "$work"/*.result 2>/dev/null
passed=$(cat "$work"/*.result 2>/dev/null | grep -c '^ok ')
failed=$(cat "$work"/*.result 2>/dev/null | grep -c '^FAIL ')
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
