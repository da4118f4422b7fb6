#!/bin/bash
# deps.sh [dev]: installs what is missing to build and test neap, with `dev` also
# what the checks need. Silent and quick where nothing is missing.
set -u

missing=()
command -v pkg-config >/dev/null || missing+=(pkg-config)
have() { command -v "$1" >/dev/null || missing+=("$2"); }
# A library counts as present where pkg-config or the compiler's own folders
# know it, so that other distributions need not look like Debian.
have_pc() {
  local p
  for p in "${@:2}"; do
    pkg-config --exists "$p" 2>/dev/null && return
  done
  missing+=("$1")
}
have "${CC:-gcc}" gcc
have make make
have lua5.4 lua5.4
have_pc liblua5.4-dev lua5.4 lua-5.4 lua54
have_pc libuv1-dev libuv
have_pc libssl-dev openssl # headers: the library is loaded when TLS is used
have_pc libc-ares-dev libcares
[ -e /usr/bin/busted ] || missing+=(lua-busted)
if ! [ -e /usr/include/stdio.h ]; then missing+=(libc6-dev); fi

# What the specs talk to.
have openssl openssl
have curl curl
have socat socat
have nc netcat-openbsd

if [ "${1:-}" = dev ]; then
  have git git
  have clang clang
  have clang-tidy clang-tidy
  have clang-format clang-format
  have cppcheck cppcheck
  have shellcheck shellcheck
  have luacheck lua-check
  # LeakSanitizer and the others for clang are a package of their own.
  if ! ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.asan-*.a \
    >/dev/null 2>&1; then
    missing+=(libclang-rt-14-dev)
  fi
fi
[ ${#missing[@]} = 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing (Debian's names): ${missing[*]}" >&2
  exit 1
fi
root=()
if [ "$(id -u)" != 0 ]; then root=(sudo); fi
export DEBIAN_FRONTEND=noninteractive
install() {
  "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
echo "installing: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install >"$log" 2>&1 && exit 0
# The package lists may be absent or old.
if "${root[@]}" apt-get update -qq >>"$log" 2>&1 && install >>"$log" 2>&1; then
  exit 0
fi
cat "$log" >&2
exit 1
