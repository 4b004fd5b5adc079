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
# Without --way the first of them that can work is taken. It is built twice and linked three times: the first build counts
# what a few requests need of it (rustc book, "Profile-guided Optimization"), the second puts apart what they do not need,
# and the last link puts together what one of them runs of that (first-visits.c), in the order in which it is run. So a
# connection touches few pages of the file. --untrained leaves that out, and so do the other two ways and a toolchain
# that cannot count. Two trained builds of one source behave alike and differ in their bytes.
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

# musl protects nothing after the start of such a program, so nothing needs a page of its own for that. glibc does.
if [[ $triple == *-musl ]]; then flags+=(-C relro-level=off); fi

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
  # Enough lines, and long enough ones, to show which loops are worth their instructions.
  printf '%s\n' '# databases' db-{01..40}.storage.example.lan:9104 'edge-*.lan  Built,NginxDown' 'web-*.lan' >"$work/allowed"
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

# What a program that is served with this command answers to the alert of this number, firing or resolved, as Alertmanager
# posts it.
posted() {
  local number=$1 state=$2 ends=0001-01-01T00:00:00Z labels notes body
  shift 2
  [[ $state == firing ]] || ends=$(date -u -d '+1 minute' +%FT%T.%3NZ)
  labels='"alertname":"Built","heal":"true","instance":"web-'$number'.lan:9113","job":"nginx","severity":"critical"'
  notes='"runbook":"look,\nthen \"restart\" \\ it\u2026","summary":"web-'$number' does not answer"'
  body=$(
    cat <<EOF
{"receiver":"self-heal","status":"$state","alerts":[{"status":"$state","labels":{$labels},"annotations":{$notes},\
"startsAt":"$(date -u +%FT%T.%3NZ)","endsAt":"$ends","generatorURL":"http://prometheus.lan:9090/graph?g0.expr=up+%3D%3D+0",\
"fingerprint":"$(printf '%016x' "$number")"}],"groupLabels":{"alertname":"Built","instance":"web-$number.lan:9113"},\
"commonLabels":{$labels},"commonAnnotations":{$notes},"externalURL":"http://alertmanager.lan:9093","version":"4",\
"groupKey":"{}/{heal=\"true\"}:{alertname=\"Built\", instance=\"web-$number.lan:9113\"}","truncatedAlerts":0}
EOF
  )
  printf 'POST / HTTP/1.1\r\nHost: 127.0.0.1:9876\r\nUser-Agent: Alertmanager/0.28.1\r\nContent-Length: %d\r\n%s\r\n\r\n%s' \
    "$(printf %s "$body" | wc -c)" 'Content-Type: application/json' "$body" | env -i HEAL_CONF="$work/conf" "$@"
}

# A few requests, as they come.
train() {
  local number served=("$work/first-visits" - "$1" serve)
  for number in {1..12}; do posted "$number" firing "${served[@]}"; done
  posted 1 firing "${served[@]}"
  posted 1 resolved "${served[@]}"
  asked "$1" /-/healthy
  asked "$1" /metrics
}

# What comes with rustc: llvm-profdata (the component llvm-tools), and a linker that takes an order.
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
merge=$tools/llvm-profdata

can_visit() { cc -O2 -o "$work/first-visits" "$top/deploy/first-visits.c"; }

can_merge() {
  if [[ ! -x $merge ]] && command -v rustup >/dev/null; then rustup component add llvm-tools >&2 || true; fi
  [[ -x $merge ]]
}

# Each block of a function that was never run apart from the others, not only those that are rare beside the busiest loop
# of all (llvm/lib/CodeGen/MachineFunctionSplitter.cpp).
apart=(-enable-split-machine-functions -mfs-psi-cutoff=0 -mfs-count-threshold=1)

can_part() {
  rustc "${apart[@]/#/-Cllvm-args=}" --crate-type lib --emit obj -o "$work/probe.o" - </dev/null 2>/dev/null
}

# The functions that this program, with names in it, runs for one alert, in the order of their first visit: addresses
# and then what nm(1) says lies there.
visited() {
  local answer
  answer=$(posted 13 firing "$work/first-visits" "$work/visits" "$1" serve)
  [[ $answer == *'"verdict":"healed"'* ]] || return 1
  awk 'NR == FNR { if ($2 ~ /^[tTwW]$/) { at[++count] = $1; name[count] = $3 } next }
    {
      low = 1; high = count
      while (low < high) {
        middle = int((low + high + 1) / 2)
        if (at[middle] <= $1 + 0) low = middle; else high = middle - 1
      }
      if (!seen[low]++) print name[low]
    }' <(nm -n -t d "$1" | sed 's/^0*\([0-9]\)/\1/') "$work/visits"
}

# Takes the linker's place, and links twice: with names, to see what is run of it, and then with that together.
link() {
  local argument named=() made='' before=''
  for argument in "$@"; do
    if [[ $before == -o ]]; then
      made=$argument argument=$work/named
    fi
    before=$argument
    [[ $argument == -Wl,--strip-all ]] || named+=("$argument")
  done
  if [[ -n $made ]] && cc "${named[@]}" && visited "$work/named" >"$work/order"; then
    cc "$@" "-Wl,--symbol-ordering-file=$work/order,--no-warn-symbol-ordering"
  else
    echo 'build-release: not put in order: what it runs could not be seen' >&2
    cc "$@"
  fi
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
  if can_part; then learnt+=("${apart[@]/#/-Cllvm-args=}"); fi
  # lld takes an order.
  if [[ ! -x $tools/gcc-ld/ld.lld ]]; then
    say 'not put in order: that takes the lld of rustup'
    return
  fi
  {
    printf '#!/bin/bash\nset -euo pipefail\nwork=%q\n' "$work"
    declare -f posted visited link
    echo 'link "$@"'
  } >"$work/link"
  chmod 0755 "$work/link"
  learnt+=(-C "linker=$work/link" -C linker-flavor=gcc -C "link-arg=-B$tools/gcc-ld" -C link-arg=-fuse-ld=lld)
}

if [[ -n $trained && $way == rustup ]] && can_count && can_merge && can_visit; then
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
how='not trained'
if ((${#learnt[@]})); then how=trained; fi
if [[ -s $work/order ]]; then how+=', in order'; fi
say "static, no PIE, $how, answers; $(stat -c %s "$program") bytes"
say "sha256 $(sha256sum "$program" | cut -d ' ' -f 1)"
printf '%s\n' "$program"
