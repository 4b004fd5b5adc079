#!/bin/bash
# Everything that is checked, in one command. Installs the Debian packages that the tests use where they are missing.
#
#   tests/run.sh              all parts
#   tests/run.sh PART…        only these
#   tests/run.sh chain        a module of the suite (tests/suite/chain) is a part too
#   tests/run.sh list         the parts
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$top"
export PATH="$PATH:/usr/sbin:/sbin" CARGO_TERM_COLOR=never

parts=(packages fmt clippy doc shellcheck unit release deploy quickstart suite static)

part_packages() {
  # program=package; a library or a data file would be listed by its path.
  local wanted=(
    socat=socat openssl=openssl curl=curl jq=jq inetd=openbsd-inetd shellcheck=shellcheck logrotate=logrotate sudo=sudo visudo=sudo
    nginx=nginx-light prometheus=prometheus promtool=prometheus prometheus-alertmanager=prometheus-alertmanager
    amtool=prometheus-alertmanager flock=util-linux setpriv=util-linux ip=iproute2 ps=procps python3=python3
    mkfs.ext4=e2fsprogs strace=strace perl=perl debootstrap=debootstrap systemd-nspawn=systemd-container systemd-analyze=systemd
    dbus-daemon=dbus-daemon dpkg-deb=dpkg cc=gcc mount=mount
    zsh=zsh fish=fish man=man-db troff=groff-base mandoc=mandoc script=bsdutils
    haproxy=haproxy wrk=wrk ab=apache2-utils /usr/lib/python3/dist-packages/requests=python3-requests
    setfacl=acl getfattr=attr unshare=util-linux nsenter=util-linux
  )
  local missing=() pair root=()
  for pair in "${wanted[@]}"; do
    [[ -e ${pair%%=*} ]] || command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  command -v apt-get >/dev/null || { echo 'this is no Debian: its packages are what the tests use'; return 1; }
  if ((EUID != 0)); then root=(sudo); fi
  # xinetd cannot be installed beside openbsd-inetd: a test unpacks its package, so apt has to know where it is.
  if ((${#missing[@]})) || ! apt-cache show xinetd >/dev/null 2>&1; then "${root[@]}" apt-get update -q; fi
  if ((${#missing[@]} == 0)); then
    echo 'every program is here'
    return
  fi
  echo "installing: ${missing[*]}"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"
}

part_fmt() { cargo fmt --check; }

part_clippy() { cargo clippy --locked --all-targets -- -D warnings; }

part_doc() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items; }

part_shellcheck() {
  local scripts
  mapfile -t scripts < <(find .ci/run deploy handlers tests -type f \
    \( -name '*.sh' -o -name '*.restored' -o -name '*.bash' -o -path .ci/run -o -path 'handlers/escalate/*' \))
  shellcheck -x "${scripts[@]}"
  echo "${#scripts[@]} scripts"
}

part_unit() { cargo test --locked --lib; }

part_release() {
  local size most=3400000
  cargo build --locked --release
  size=$(stat -c %s "${CARGO_TARGET_DIR:-target}/release/self-heal")
  echo "$size bytes"
  ((size < most)) || { echo "more than $most"; return 1; }
}

# What is shipped is another executable than the suite's: other libc, other allocator, no unwinding.
part_static() {
  local program said=${CARGO_TARGET_DIR:-target}/build-release.log
  mkdir -p "${said%/*}"
  program=$(deploy/build-release.sh 2>"$said") || { cat "$said"; return 1; }
  cat "$said"
  # Whether it can be trained is the toolchain's; what is trained is put in order too.
  if grep -q ' no PIE, trained, answers' "$said"; then echo 'not put in order'; return 1; fi
  SELF_HEAL_PROGRAM=$program cargo test --locked --test suite -- \
    basics:: transcripts:: handlers:: crash:: stopping:: storage:: spawners::processes
}

part_deploy() { tests/deploy-check.sh; }

part_quickstart() { deploy/quickstart.sh --once; }

part_suite() { cargo test --locked --test suite -- "$@"; }

is_module() { [[ -f tests/suite/$1.rs || -d tests/suite/$1 ]]; }

run() {
  local part=$1 began=$SECONDS
  shift
  printf '\n=== %s\n' "$part"
  # In a subshell of its own, so that errexit holds inside it: a tested command would switch it off.
  set +e
  (set -e; "part_$part" "$@")
  local status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1))
    printf -- '--- %s: ok, %d s\n' "$part" $((SECONDS - began))
  else
    failed=$((failed + 1))
    broken+=("$part")
    printf -- '--- %s: FAILED (exit %d), %d s\n' "$part" "$status" $((SECONDS - began))
  fi
}

passed=0 failed=0 broken=()
case ${1:-} in
  '') for part in "${parts[@]}"; do run "$part"; done ;;
  list)
    printf '%s\n' "${parts[@]}"
    # stage and support hold no tests.
    sed -n '/stage\|support/d; s/^mod \(.*\);$/\1/p' tests/suite/main.rs
    exit 0
    ;;
  *)
    for part in "$@"; do
      if declare -F "part_$part" >/dev/null; then
        run "$part"
      elif is_module "$part"; then
        run suite "$part::"
      else
        echo "no part $part: tests/run.sh list" >&2
        exit 100
      fi
    done
    ;;
esac

if ((failed)); then printf '\nfailed: %s\n' "${broken[*]}"; fi
printf '\nparts: %d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
