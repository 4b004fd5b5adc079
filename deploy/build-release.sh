#!/bin/bash
# Builds the executable that is shipped: one static file that starts as fast as a program of its size can, because it
# is started once a connection. It is no position-independent executable, has no dynamic linker and no relocations, and
# asks the processor for no features. By musl where the toolchain can, which starts in a third of glibc's time.
#
#   deploy/build-release.sh [--way rustup|debian|glibc] [--untrained]
#
#   rustup   the musl target of a toolchain that rustup installed; it is added where it is missing
#   debian   Debian's rustc-web, cargo-web, rust-web-src and musl-tools: the standard library is built along
#   glibc    static glibc, slower to start; taken last
#
# Without --way the first of them that can work is taken. It is built twice: the first build counts what a few requests
# need of it, and the second puts that together, so that a connection touches few pages of the file (rustc book,
# "Profile-guided Optimization"). --untrained leaves that out, and so do the other two ways and a toolchain that cannot
# count. Two trained builds of one source behave alike and differ in their bytes.
#
# The executable is checked, and its path is the last line. CARGO_TARGET_DIR is honoured.
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
  say 'only --way rustup|debian|glibc and --untrained are understood'
  exit 100
}

way='' trained=yes
while (($#)); do
  case $1:${2:-} in
    -h:* | --help:*)
      sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --way:rustup | --way:debian | --way:glibc)
      way=$2
      shift
      ;;
    --untrained:*) trained='' ;;
    *) usage ;;
  esac
  shift
done

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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_CFG_HTTPARSE_DISABLE_SIMD=1

# Builds into this folder, with these further flags for rustc.
compile() {
  local folder=$1 all
  shift
  all=("${flags[@]}" "$@")
  # The separator of cargo's variable: a flag may hold a blank.
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${all[*]}") CARGO_TARGET_DIR=$folder cargo "${build[@]}" >&2
}

# A folder to work in: one handler, and whom it may heal.
settings() {
  mkdir "$work/log" "$work/state" "$work/lock" "$work/handlers"
  printf '#!/bin/sh\nexit 0\n' >"$work/handlers/Built.sh"
  chmod 0755 "$work/handlers/Built.sh"
  echo 'web-*.lan' >"$work/allowed"
  cat >"$work/conf" <<EOF
HEAL_ALLOW_ROOT=yes
HEAL_SYSLOG=off
HEAL_STORM_LIMIT=100/1h
HEAL_LOG_DIR='$work/log'
HEAL_STATE_DIR='$work/state'
HEAL_LOCK_DIR='$work/lock'
HEAL_HANDLER_DIR='$work/handlers'
HEAL_ALLOWED_INSTANCES='$work/allowed'
EOF
}

# What this executable answers to a GET of this path.
asked() { printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' "$2" | env -i HEAL_CONF="$work/conf" "$1" serve; }

# What it answers to the alert of this number, firing or resolved, as Alertmanager posts it.
posted() {
  local ends=0001-01-01T00:00:00Z body
  [[ $3 == firing ]] || ends=$(date -u -d '+1 minute' +%FT%TZ)
  body=$(
    cat <<EOF
{"receiver":"self-heal","status":"$3","alerts":[{"status":"$3","labels":{"alertname":"Built","instance":"web-$2.lan:9113",\
"job":"nginx","severity":"critical"},"annotations":{"summary":"web-$2 does not answer","runbook":"look, \"restart\""},\
"startsAt":"$(date -u +%FT%TZ)","endsAt":"$ends","generatorURL":"http://prometheus.lan:9090/graph?g0.expr=up+%3D%3D+0",\
"fingerprint":"$(printf '%016x' "$2")"}],"groupLabels":{"alertname":"Built"},"commonLabels":{"alertname":"Built"},\
"commonAnnotations":{},"externalURL":"http://alertmanager.lan:9093","version":"4",\
"groupKey":"{}:{alertname=\"Built\"}","truncatedAlerts":0}
EOF
  )
  printf 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
    "$(printf %s "$body" | wc -c)" "$body" | env -i HEAL_CONF="$work/conf" "$1" serve
}

# A few requests, as they come.
train() {
  local number
  for number in {1..12}; do posted "$1" "$number" firing; done
  posted "$1" 1 firing
  posted "$1" 1 resolved
  asked "$1" /-/healthy
  asked "$1" /metrics
}

# What comes with rustc: llvm-profdata (the component llvm-tools), and a linker that takes an order.
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
merge=$tools/llvm-profdata

can_merge() {
  if [[ ! -x $merge ]] && command -v rustup >/dev/null; then rustup component add llvm-tools >&2 || true; fi
  [[ -x $merge ]]
}

# The functions that were called, by what llvm-profdata shows: `  [MODULE;]NAME:`, then the counts of its blocks.
called() {
  awk '/^  [^ ].*:$/ { name = $1; sub(/:$/, "", name); sub(/^.*;/, "", name) }
    /Block counts: .*[1-9]/ { print name }'
}

can_count() {
  local folder
  folder=$(rustc --print target-libdir --target "$triple") && compgen -G "$folder/libprofiler_builtins-*.rlib" >/dev/null
}

say "way $way, target $triple, $(rustc --version)"
settings
learnt=()
# The flags for a build from what the first one learnt.
learn() {
  "$merge" merge -o "$work/learnt" "$work/counts"/*.profraw
  learnt=(-C "profile-use=$work/learnt")
  [[ -x $tools/gcc-ld/ld.lld ]] || return 0
  "$merge" show --all-functions --counts "$work/learnt" | called >"$work/order"
  learnt+=(-C "link-arg=-B$tools/gcc-ld" -C link-arg=-fuse-ld=lld)
  learnt+=(-C "link-arg=-Wl,--symbol-ordering-file=$work/order,--no-warn-symbol-ordering")
}

if [[ -n $trained && $way == rustup ]] && can_count && can_merge; then
  compile "$target/training" -C "profile-generate=$work/counts"
  train "$target/training/$triple/release/self-heal" >"$work/answers"
  healed=$(grep -c '"verdict":"healed"' "$work/answers" || true)
  if ((healed >= 12)); then
    learn
  else
    say "not trained: the build that counts healed $healed of 12 in $work: $(tail -n 1 "$work/answers")"
  fi
elif [[ -n $trained ]]; then
  say 'not trained: that takes rustup, with its profiler and llvm-tools. It works the same, some 0.2 ms slower.'
fi
compile "$target" "${learnt[@]}"

made=$target/$triple/release/self-heal
program=$target/release-static/self-heal
mkdir -p "${program%/*}"
install -m 0755 "$made" "$program.new"

# --- what it has to be -----------------------------------------------------------------------------------------------

headers=$(readelf -hlW "$program.new")
[[ $headers =~ Type:\ +EXEC ]] || die "$program.new: position independent"
[[ $headers != *INTERP* && $headers != *DYNAMIC* ]] || die "$program.new: not static"

answer=$(asked "$program.new" /-/healthy) || die "$program.new serve: exit status $?"
[[ $answer == 'HTTP/1.1 200 '* ]] || die "$program.new does not answer GET /-/healthy: $answer"

mv "$program.new" "$program"
say "static, no PIE, answers; $(stat -c %s "$program") bytes"
say "sha256 $(sha256sum "$program" | cut -d ' ' -f 1)"
printf '%s\n' "$program"
