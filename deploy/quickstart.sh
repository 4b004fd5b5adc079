#!/bin/bash
# From a checkout to a healed service: builds self-heal, starts its listener as an unprivileged account in a private
# folder, breaks a small web service, posts the alert that Alertmanager would post, and shows what came of it. Then it
# serves until Ctrl-C. Everything it starts ends with it; nothing outside its folder is changed, except that missing
# Debian packages are installed.
#
#   deploy/quickstart.sh [--once]     --once: end after the healing
#   HEAL_PORT                         the listener's port; without it 9095, or the next free one
# shellcheck disable=SC2317 # functions called by trap and by wait_for
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
once=no
case "$#:${1:-}" in
  0:) ;;
  1:--once) once=yes ;;
  1:-h | 1:--help)
    sed -n '2,/^set /{/^# shellcheck/d;s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  *)
    printf 'quickstart: only --once is understood\n' >&2
    exit 100
    ;;
esac

step() { printf '\n== %s\n' "$*"; }
die() {
  printf '\nquickstart: %s\n' "$*" >&2
  exit 1
}

# --- What this machine needs -----------------------------------------------------------------------------------------

step 'What it needs'
packages=()
command -v socat >/dev/null || packages+=(socat)
command -v curl >/dev/null || packages+=(curl ca-certificates)
command -v cc >/dev/null || packages+=(gcc libc6-dev) # cargo links with it
command -v setpriv >/dev/null || packages+=(util-linux)
if ((${#packages[@]})); then
  command -v apt-get >/dev/null || die "missing, and this is no Debian: ${packages[*]}"
  root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "missing: run as root: apt-get install ${packages[*]}"
    root=(sudo)
  fi
  printf 'installing %s\n' "${packages[*]}"
  "${root[@]}" apt-get install -y -q --no-install-recommends "${packages[@]}" ||
    { "${root[@]}" apt-get update -q && "${root[@]}" apt-get install -y -q --no-install-recommends "${packages[@]}"; } ||
    die "apt-get could not install ${packages[*]}"
fi
cargo=$(command -v cargo || true)
if [[ -z $cargo && -x ${HOME:-/root}/.cargo/bin/cargo ]]; then cargo=${HOME:-/root}/.cargo/bin/cargo; fi
[[ -n $cargo ]] || die 'cargo is missing: install Rust, by rustup or your distribution'
printf 'socat, curl, cc and cargo are here\n'

step 'Build'
"$cargo" build --release --locked --manifest-path "$top/Cargo.toml"
target=${CARGO_TARGET_DIR:-$top/target}
[[ $target == /* ]] || target=$PWD/$target
[[ -x $target/release/self-heal ]] || die "cargo left no $target/release/self-heal"

# --- A private folder, for an account without privileges -------------------------------------------------------------

# Not root: this account. Root: whoever owns the checkout; if that is root too, nobody. self-heal refuses to be root.
account=$(id -un)
if ((EUID == 0)); then
  account=$(stat -c %U "$top")
  if [[ $account == root || $account == UNKNOWN ]]; then account=nobody; fi
fi
# A prefix, not a function: in the background a function would be one more shell between us and what we end.
as_account=()
if ((EUID == 0)); then
  as_account=(setpriv --reuid="$account" --regid="$(id -gn "$account")" --init-groups --)
fi

# self-heal runs a handler only if root or its own account owns it and every folder on the way, and nobody else may
# write there (a sticky folder such as /tmp apart). Says what stands in the way.
unsafe() {
  local folder=$1 owner mode
  [[ $folder =~ ^/[A-Za-z0-9_./+@%-]+$ ]] || { printf '%s has characters that socat would split at' "$folder"; return; }
  while :; do
    read -r owner mode < <(stat -c '%U %a' "$folder")
    if [[ $owner != root && $owner != "$account" ]]; then
      printf '%s belongs to %s' "$folder" "$owner"
      return
    fi
    if ((8#$mode & 8#022)) && ! ((8#$mode & 8#1000)); then
      printf '%s is writable by others than %s (mode %s)' "$folder" "$owner" "$mode"
      return
    fi
    if [[ $folder == / ]]; then break; fi
    folder=$(dirname "$folder")
  done
  "${as_account[@]}" test -x "$1" || printf '%s cannot reach %s' "$account" "$1"
}

listener='' keep=yes base='' ours=no
clean() {
  local status=$? pid file
  trap - EXIT INT TERM
  if [[ -n $listener ]]; then kill "$listener" 2>/dev/null || true; fi
  # The demonstration service, whoever started it last. Its number may be somebody else's by now: ask for its name.
  file=$base/run/demo.pid
  if [[ $ours == yes && -s $file ]]; then
    pid=$(<"$file")
    if [[ $pid =~ ^[0-9]+$ ]] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$base/page"; then
      kill "$pid" 2>/dev/null || true
    fi
  fi
  if [[ -n $listener ]]; then wait "$listener" 2>/dev/null || true; fi
  if [[ $keep == no ]]; then rm -rf "$base"; fi
  exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "A private folder for $account"
base=$top/target/quickstart
mkdir -p "$base"
why=$(unsafe "$base")
if [[ -n $why ]]; then
  printf 'not %s: %s\n' "$base" "$why"
  rmdir "$base" 2>/dev/null || true
  base=$(mktemp -d /tmp/self-heal-quickstart.XXXXXX)
  keep=no
  chmod 755 "$base"
  why=$(unsafe "$base")
  [[ -z $why ]] || die "not $base either: $why"
else
  # Left from the last time, for reading.
  if [[ -s $base/run/demo.pid ]] && curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$(<"$base/run/demo.port")/"; then
    die "another quickstart is running in $base"
  fi
  rm -rf "${base:?}"/*
fi
ours=yes
umask 022
mkdir "$base/handlers"
for folder in log lock state backup run; do
  mkdir -m 700 "$base/$folder"
  if ((EUID == 0)); then chown "$account:" "$base/$folder"; fi
done
install -m 755 "$target/release/self-heal" "$top/deploy/webhook-listener.sh" "$base/"
printf '%s\n' "$base"

# --- Ports -----------------------------------------------------------------------------------------------------------

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # free_port FROM: the first that nobody listens on
  local port=$1
  while taken "$port"; do
    port=$((port + 1))
    ((port < $1 + 200)) || die "no free port from $1 on"
  done
  printf '%s' "$port"
}
if [[ -n ${HEAL_PORT:-} ]]; then
  port=$HEAL_PORT
  [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || die "HEAL_PORT: '$port' is no port"
  if taken "$port"; then die "HEAL_PORT: somebody listens on $port already"; fi
else
  port=$(free_port 9095)
fi
demo_port=$(free_port 18080)
if [[ $demo_port == "$port" ]]; then demo_port=$(free_port $((port + 1))); fi
printf '%s\n' "$demo_port" >"$base/run/demo.port"

# --- A service, its handler, the configuration -----------------------------------------------------------------------

# A web page by socat. The service writes down its own number, so that it can be ended.
cat >"$base/page" <<'PAGE'
#!/bin/bash
while IFS= read -r line && [[ -n ${line%$'\r'} ]]; do :; done
printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthe demonstration service is up\n'
PAGE
cat >"$base/demo-service" <<SERVICE
#!/bin/bash
echo \$\$ >$base/run/demo.pid
exec socat TCP4-LISTEN:$demo_port,bind=127.0.0.1,reuseaddr,fork EXEC:$base/page
SERVICE
cat >"$base/handlers/DemoServiceDown.sh" <<HANDLER
#!/bin/bash
# DemoServiceDown INSTANCE ALERTNAME FINGERPRINT: what every handler does. Looks, acts, looks again.
#
# self-heal: timeout=30s
set -euo pipefail

works() { curl -s -o /dev/null --max-time 2 http://127.0.0.1:$demo_port/; }

if works; then echo 'already up; nothing done'; exit 0; fi
echo "starting it for \$1, attempt \$HEAL_ATTEMPT"
# A real service is started by systemctl; this one gets a session of its own and none of our output.
setsid --fork $base/demo-service >/dev/null 2>&1 </dev/null
until=\$((SECONDS + 10))
while ((SECONDS < until)); do
  if works; then echo 'it answers'; exit 0; fi
  sleep 0.2
done
echo 'it does not answer'
exit 1
HANDLER
chmod 755 "$base/page" "$base/demo-service" "$base/handlers/DemoServiceDown.sh"
echo localhost >"$base/allowed-instances.txt"
cat >"$base/self-heal.conf" <<CONF
HEAL_PORT=$port
HEAL_HANDLER_DIR=$base/handlers
HEAL_ALLOWED_INSTANCES=$base/allowed-instances.txt
HEAL_LOG_DIR=$base/log
HEAL_LOCK_DIR=$base/lock
HEAL_STATE_DIR=$base/state
HEAL_BACKUP_DIR=$base/backup
HEAL_SYSLOG=off
CONF
why=$(unsafe "$base/handlers")
[[ -z $why ]] || die "self-heal would call the handler unsafe: $why"

step "The service answers on 127.0.0.1:$demo_port"
works() { curl -s --max-time 2 "http://127.0.0.1:$demo_port/"; }
wait_for() { # wait_for SECONDS COMMAND...
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < until)) || return 1
    sleep 0.1
  done
}
clean_environment=(env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/ LANG=C.UTF-8)
"${as_account[@]}" "${clean_environment[@]}" setsid --fork "$base/demo-service" >/dev/null 2>&1 </dev/null
wait_for 10 works || die 'the demonstration service does not start'
works

step "self-heal listens on 127.0.0.1:$port as $account"
# env -i: the listener of this folder is to be configured by this folder alone.
"${as_account[@]}" "${clean_environment[@]}" HEAL_CONF="$base/self-heal.conf" SELF_HEAL_BIN="$base/self-heal" \
  "$base/webhook-listener.sh" >"$base/run/socat.log" 2>&1 &
listener=$!
healthy() { kill -0 "$listener" && curl -sf --max-time 5 "http://127.0.0.1:$port/-/healthy"; }
wait_for 10 healthy || die "the listener does not answer: $(cat "$base/run/socat.log")"
ready=$(curl -s --max-time 10 -w '\n%{http_code}' "http://127.0.0.1:$port/-/ready")
[[ ${ready##*$'\n'} == 200 ]] || die "self-heal is not ready: $ready"
printf 'ready\n'

step 'The service dies'
kill -KILL "$(<"$base/run/demo.pid")"
gone() { ! taken "$demo_port"; }
wait_for 10 gone || die 'the demonstration service does not die'
curl -sS --max-time 2 "http://127.0.0.1:$demo_port/" || true

step 'Its alert, as Alertmanager posts it'
cat >"$base/run/alert.json" <<ALERT
{"receiver":"self-heal","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DemoServiceDown","heal":"true","instance":"localhost","job":"demo","severity":"critical"},"annotations":{"summary":"the demonstration service does not answer"},"startsAt":"$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://localhost:9090/graph?g0.expr=up+%3D%3D+0\u0026g0.tab=1","fingerprint":"e3a472b5263dac5c"}],"groupLabels":{"alertname":"DemoServiceDown","heal":"true","instance":"localhost","job":"demo","severity":"critical"},"commonLabels":{"alertname":"DemoServiceDown","heal":"true","instance":"localhost","job":"demo","severity":"critical"},"commonAnnotations":{"summary":"the demonstration service does not answer"},"externalURL":"http://localhost:9093","version":"4","groupKey":"{}/{heal=\"true\"}:{alertname=\"DemoServiceDown\", heal=\"true\", instance=\"localhost\", job=\"demo\", severity=\"critical\"}","truncatedAlerts":0}
ALERT
answer=$(curl -sS -i --max-time 60 -A Alertmanager/0.25.0 -H 'Content-Type: application/json' \
  --data-binary "@$base/run/alert.json" "http://127.0.0.1:$port/") || die "no answer: $(cat "$base/run/socat.log")"
printf '%s\n' "${answer//$'\r'/}"

step 'What it says in listener.log'
grep DemoServiceDown "$base/log/listener.log" || cat "$base/log/listener.log"
step 'What the handler said'
cat "$base/log/DemoServiceDown.log" || true

[[ $answer == HTTP/1.1\ 200* && $answer == *'"verdict":"healed"'* ]] || die 'it did not heal'
step 'The service is back'
works || die 'self-heal says healed, and the service does not answer'

if [[ $once == yes ]]; then
  printf '\nDone; everything that was started is ended.\n'
  exit 0
fi

cat <<END

self-heal goes on serving until Ctrl-C. Try:
  curl http://127.0.0.1:$port/metrics
  curl http://127.0.0.1:$port/-/ready
  # The alert once more: settling, it has just healed.
  curl -H 'Content-Type: application/json' --data-binary @$base/run/alert.json http://127.0.0.1:$port/
  less $base/log/listener.log
For a real installation see the README; its files are in deploy/.
END
wait "$listener"
die "the listener ended: $(cat "$base/run/socat.log")"
