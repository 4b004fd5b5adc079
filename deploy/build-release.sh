#!/bin/bash
# Builds the executable that is shipped: one static file that starts as fast as a program of its size can, because it
# is started once a connection. It is no position-independent executable, has no dynamic linker and no relocations, and
# asks the processor for no features. By musl where the toolchain can, which starts in a third of glibc's time.
#
#   deploy/build-release.sh [--way rustup|debian|glibc]
#
#   rustup   the musl target of a toolchain that rustup installed; it is added where it is missing
#   debian   Debian's rustc-web, cargo-web, rust-web-src and musl-tools: the standard library is built along
#   glibc    static glibc, slower to start; taken last
#
# Without --way the first of them that can work is taken. The executable is checked, and its path is the last line.
# CARGO_TARGET_DIR is honoured.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
target=${CARGO_TARGET_DIR:-$top/target}
triple=$(uname -m)-unknown-linux-musl

say() { printf 'build-release: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

usage() {
  say 'only --way rustup|debian|glibc is understood'
  exit 100
}

way=''
case $#:${1:-} in
  0:) ;;
  1:-h | 1:--help)
    sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  2:--way)
    way=$2
    case $way in rustup | debian | glibc) ;; *) usage ;; esac
    ;;
  *) usage ;;
esac

for program in cargo rustc cc ar readelf sha256sum; do
  command -v "$program" >/dev/null || die "$program is missing"
done

has_target() {
  local folder
  folder=$(rustc --print target-libdir --target "$triple") && compgen -G "$folder/libstd-*.rlib" >/dev/null
}

rustup_can() {
  has_target && return
  command -v rustup >/dev/null || return 1
  say "adding the target $triple"
  rustup target add "$triple" >&2 && has_target
}

library() { printf '%s/lib/rustlib/src/rust/library' "$(rustc --print sysroot)"; }

debian_can() { [[ -f $(library)/std/Cargo.toml ]] && command -v musl-gcc >/dev/null; }

if [[ -z $way ]]; then
  if rustup_can; then
    way=rustup
  elif debian_can; then
    way=debian
  else
    way=glibc
    say "no musl target here (rustup target add $triple, or Debian's rust-web-src and musl-tools):"
    say 'static glibc instead. It works the same, and takes some 0.3 to 0.4 ms longer to start.'
  fi
elif [[ $way != glibc ]]; then
  "${way}_can" || die "--way $way: what it needs is not here"
fi

# No PIE: nothing to relocate at the start. httparse asks CPUID for instructions that pay off in megabytes, and every
# CPUID of a virtual machine is a trip to its host. sha2 asks too, and gets it back: a handler is hashed before each run.
flags=(-C relocation-model=static -C target-feature=+crt-static)
build=(build --release --locked --manifest-path "$top/Cargo.toml")
case $way in
  rustup) build+=(--target "$triple") ;;
  debian)
    # The standard library asks for a libunwind, which rustup's musl target brings itself. gcc's does, but for a
    # question that only glibc answers: no answer means a panic without a stack trace.
    stand_in=$target/$triple/libunwind
    mkdir -p "$stand_in"
    install -m 0644 "$(cc -print-file-name=libgcc_eh.a)" "$stand_in/libunwind.a"
    echo 'int _dl_find_object(void *at, void *found) { (void)at; (void)found; return -1; }' |
      musl-gcc -O2 -x c -c - -o "$stand_in/none.o"
    ar r "$stand_in/libunwind.a" "$stand_in/none.o" 2>/dev/null
    flags+=(-C link-self-contained=no -C linker=musl-gcc -L "native=$stand_in")
    build+=(--target "$triple" -Z 'build-std=std,panic_abort')
    export RUSTC_BOOTSTRAP=1
    ;;
  glibc)
    triple=$(rustc -vV | sed -n 's/^host: //p')
    build+=(--target "$triple")
    ;;
esac

# The separator of cargo's variable: a flag may hold a blank.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS CARGO_CFG_HTTPARSE_DISABLE_SIMD=1
say "way $way, target $triple, $(rustc --version)"
cargo "${build[@]}" >&2

made=$target/$triple/release/self-heal
program=$target/release-static/self-heal
mkdir -p "${program%/*}"
install -m 0755 "$made" "$program.new"

# --- what it has to be -----------------------------------------------------------------------------------------------

headers=$(readelf -hlW "$program.new")
[[ $headers =~ Type:\ +EXEC ]] || die "$program.new: position independent"
[[ $headers != *INTERP* && $headers != *DYNAMIC* ]] || die "$program.new: not static"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/log" "$work/state"
: >"$work/conf"
answer=$(printf 'GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n' |
  env -i HEAL_CONF="$work/conf" HEAL_ALLOW_ROOT=yes HEAL_SYSLOG=off HEAL_LOG_DIR="$work/log" HEAL_STATE_DIR="$work/state" \
    "$program.new" serve) || die "$program.new serve: exit status $?"
[[ $answer == 'HTTP/1.1 200 '* ]] || die "$program.new does not answer GET /-/healthy: $answer"

mv "$program.new" "$program"
say "static, no PIE, answers; $(stat -c %s "$program") bytes"
say "sha256 $(sha256sum "$program" | cut -d ' ' -f 1)"
printf '%s\n' "$program"
