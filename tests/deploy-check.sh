#!/bin/bash
# Every file of deploy/ and handlers/ put before the program that will read it, and each such check once with a file
# that must be refused, because several of these tools say "ok" to anything. A missing tool is a failure.
# Runs as root or not; needs no network but loopback.
set -euo pipefail
shopt -s inherit_errexit

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deploy=$top/deploy
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C
unset HEAL_PORT HEAL_CONF SELF_HEAL_BIN

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

passed=0 failed=0

# check NAME COMMAND...: the command runs in a subshell under `set -e`; its output is shown when it fails.
check() {
  local name=$1 status=0
  shift
  set +e
  (set -e; "$@") >"$work/said" 2>&1
  status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1))
    printf 'ok %s\n' "$name"
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n' "$name"
    sed 's/^/    /' "$work/said"
  fi
}

# refused COMMAND...: succeeds when the command fails, and not because it is missing.
refused() {
  local status=0
  "$@" || status=$?
  if ((status == 0 || status == 126 || status == 127)); then
    printf 'expected a refusal, got exit status %d: %s\n' "$status" "$*"
    return 1
  fi
}

same() {
  [[ $1 == "$2" ]] || { printf -- '--- wanted\n%s\n--- found\n%s\n' "$1" "$2"; return 1; }
}

# --- shell ---------------------------------------------------------------------------------------------------------

check_scripts() {
  local script
  while IFS= read -r -d '' script; do
    check "shell: ${script#"$top"/} parses" bash -n "$script"
    check "shell: ${script#"$top"/} passes shellcheck" shellcheck -s bash "$script"
    # What another shell reads is not run: completions, and what the tests have.
    if [[ $script != "$top"/tests/* && $script != *.bash ]]; then check "shell: ${script#"$top"/} is executable" test -x "$script"; fi
  done < <(find "$deploy" "$top/handlers" "$top/tests" -type f \
    \( -name '*.sh' -o -name '*.bash' -o -name '*.restored' -o -path '*/handlers/escalate/*' \) -print0 | sort -z)
}

# What it builds is run by tests/run.sh static.
build_release_takes_ways() {
  "$deploy/build-release.sh" --help | grep -- '--way rustup|debian|glibc'
  "$deploy/build-release.sh" --help | grep -- '--untrained'
  local words
  for words in '--way' '--way gcc' '--fast' 'rustup' '--way glibc more' '--untrained yes'; do
    # shellcheck disable=SC2086 # words
    refused "$deploy/build-release.sh" $words
  done
}

listener_with() { # listener_with FILE-CONTENT: what it would give to socat
  printf '%s\n' "$1" >"$work/listener/conf"
  env PATH="$work/listener:$PATH" HEAL_CONF="$work/listener/conf" SELF_HEAL_BIN=/bin/true "$deploy/webhook-listener.sh"
}

listener_takes_the_port() {
  local said
  said=$(listener_with 'HEAL_PORT="19095"')
  [[ $said == TCP4-LISTEN:19095,bind=127.0.0.1,*backlog=4096,* && $said == *' EXEC:/bin/true serve,nofork' ]]
  said=$(listener_with '# no port here')
  [[ $said == TCP4-LISTEN:9095,bind=127.0.0.1,* ]]
  said=$(HEAL_PORT=19096 listener_with 'HEAL_PORT=19095')
  [[ $said == TCP4-LISTEN:19096,bind=127.0.0.1,* ]]
}

listener_runs_no_configuration() {
  local line
  # shellcheck disable=SC2016 # the text must not be expanded, here least of all
  for line in 'HEAL_PORT=$(touch '"$work"'/listener/ran)' 'HEAL_PORT=a[$(touch '"$work"'/listener/ran)]' \
    'HEAL_PORT=9095,bind=0.0.0.0' 'HEAL_PORT=0' 'HEAL_PORT=65536' 'HEAL_PORT=' 'HEAL_PORT = 9095'; do
    refused listener_with "$line"
  done
  [[ $(listener_with 'touch '"$work"'/listener/ran') == TCP4-LISTEN:9095,* ]]
  [[ ! -e $work/listener/ran ]]
  refused env HEAL_PORT='9095,bind=0.0.0.0' SELF_HEAL_BIN=/bin/true "$deploy/webhook-listener.sh"
  refused env HEAL_PORT=9095 SELF_HEAL_BIN='/bin/true,pty' "$deploy/webhook-listener.sh"
  refused env HEAL_PORT=9095 SELF_HEAL_BIN=/bin/no-such-file "$deploy/webhook-listener.sh"
}

# --- TLS in front --------------------------------------------------------------------------------------------------

tls_certificate() {
  mkdir -p "$work/tls"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=heal.example.org \
    -keyout "$work/tls/server.key" -out "$work/tls/server.pem"
  cp "$work/tls/server.pem" "$work/tls/clients.pem"
  chmod 600 "$work/tls/server.key"
}

tls_with() { # tls_with VARIABLE=VALUE...: what it would give to socat
  env PATH="$work/listener:$PATH" SELF_HEAL_BIN=/bin/true SELF_HEAL_TLS_DIR="$work/tls" SELF_HEAL_TLS_BIND=192.0.2.10 \
    "$@" "$deploy/tls/tls-listener.sh"
}

tls_listener_says() {
  local said
  said=$(tls_with)
  [[ $said == '-t 300 OPENSSL-LISTEN:9443,pf=ip4,bind=192.0.2.10,'*,verify=1' EXEC:/bin/true serve' ]]
  [[ $said == *",cafile=$work/tls/clients.pem,"* && $said == *,openssl-min-proto-version=TLS1.2,* ]]
  [[ $(tls_with SELF_HEAL_TLS_PORT=9444) == *' OPENSSL-LISTEN:9444,'* ]]
}

tls_listener_refuses() {
  local odd
  for odd in SELF_HEAL_TLS_BIND= SELF_HEAL_TLS_BIND=localhost SELF_HEAL_TLS_BIND=0.0.0.0,verify=0 SELF_HEAL_TLS_PORT=0 \
    SELF_HEAL_TLS_PORT=9443,verify=0 "SELF_HEAL_TLS_DIR=$work/tls,verify=0" SELF_HEAL_TLS_DIR=/nowhere \
    SELF_HEAL_BIN=/bin/true,pty SELF_HEAL_BIN=/bin/no-such-file; do
    refused tls_with "$odd"
  done
  chmod 644 "$work/tls/server.key"
  refused tls_with
  chmod 600 "$work/tls/server.key"
}

nginx_with() { # nginx_with SED-SCRIPT: whether nginx takes the shipped file, changed like that
  local name
  mkdir -p "$work/nginx"
  {
    echo 'pid nginx.pid; error_log stderr; events {} http { access_log off;'
    for name in client_body proxy fastcgi uwsgi scgi; do echo "${name}_temp_path tmp;"; done
    sed -e "s|/etc/self-heal/tls/|$work/tls/|; s|listen 9443 ssl|listen 127.0.0.1:9443 ssl|" -e "$1" "$deploy/tls/nginx.conf"
    echo '}'
  } >"$work/nginx/nginx.conf"
  nginx -t -p "$work/nginx/" -e stderr -c "$work/nginx/nginx.conf" >"$work/nginx/said" 2>&1 || { cat "$work/nginx/said"; return 1; }
  # A warning is what it would not do.
  refused grep -E '\[(warn|error|emerg)\]' "$work/nginx/said"
}

nginx_broken() {
  refused nginx_with 's/proxy_next_upstream off/proxy_next_upstream never/'
  refused nginx_with 's/ssl_verify_client on/ssl_verify_client/'
  refused nginx_with '/ssl_client_certificate/d'
}

# The two sides of the limits.
nginx_agrees() {
  local conf=$deploy/self-heal.conf
  grep -qx '#HEAL_MAX_BODY=4MiB' "$conf"
  grep -qx '  client_max_body_size 4m;' "$deploy/tls/nginx.conf"
  grep -qx '#HEAL_REQUEST_TIMEOUT=10s' "$conf"
  grep -qx '  client_body_timeout 10s;' "$deploy/tls/nginx.conf"
  grep -qx '  ssl_verify_client on;' "$deploy/tls/nginx.conf"
}

# --- sudo ----------------------------------------------------------------------------------------------------------

# ProcessCount.sh leaves one word open, `"$1"`: it stands for each instance of its list.
sudo_in_handlers() {
  local line instance
  grep -hv '^ *#' "$top"/handlers/*.sh "$top"/handlers/*.restored | grep -oE 'sudo [-/][^;&|]*' |
    sed 's/^sudo -n //; s/ *$//' | while IFS= read -r line; do
      # shellcheck disable=SC2016 # the handler's own text
      if [[ $line != *' "$1"' ]]; then printf '%s\n' "$line"; continue; fi
      for instance in $(instances); do printf '%s %s\n' "${line% *}" "$instance"; done
    done | sort -u
}
instances() { # of deploy/process-count.conf: SERVICE TEMPLATE@ MIN MAX STEP
  awk '!/^#/ && NF { for (n = 1; n <= $4; n++) print $2 n ".service" }' "$deploy/process-count.conf"
}
# The only lines with a part that varies: the rollback guard's run id, by a regular expression (sudoers(5)). No wildcard
# anywhere: there is no other line in the file than these and what the handlers have word for word.
run_id='[0-9a-f]{1,12}-[0-9]{1,10}-[0-9]{1,10}[.][A-Za-z0-9_][A-Za-z0-9_.-]{0,127}'
guard_lines() {
  printf '/usr/bin/timeout ^-k 5 60 /usr/local/bin/self-heal guard %s %s$\n' capture "$run_id" restore "$run_id"
}
run_ids_are_run_ids() {
  local id
  for id in 19ab3f00c2d-4711-1.NginxDown 0-1-1._ f-1-1.a.b-c.sh "1-1-1.$(printf 'a%.0s' {1..128})"; do
    [[ $id =~ ^$run_id$ ]]
  done
  # shellcheck disable=SC2016 # the text must not be expanded
  for id in '' NginxDown 1-1-1 1-1-1. 1-1-1.-a 1-1-1..a '1-1-1.a b' 1-1-1.a/b '1-1-1.a;b' '1-1-1.$(b)' -1-1-1.a \
    ../1-1-1.a '1-1-1.a*' $'1-1-1.a\nb' g-1-1.a 1-1.a "1-1-1.$(printf 'a%.0s' {1..129})"; do
    refused eval '[[ $id =~ ^$run_id$ ]]'
  done
}

sudo_lines_agree() {
  local handlers sudoers
  handlers=$({ sudo_in_handlers; guard_lines; } | sort -u)
  sudoers=$(cvtsudoers -f json -e "$deploy/sudoers.d/healer" | sed -n 's/.*"command": "\(.*\)".*/\1/p' | sort -u)
  [[ $(wc -l <<<"$handlers") -ge 4 ]]
  same "$handlers" "$sudoers"
}

sudo_lines_are_plain_and_bounded() {
  local line
  while IFS= read -r line; do
    [[ $line =~ ^/usr/bin/timeout\ -k\ [0-9]+\ [0-9]+\ (/usr/s?bin/[a-z]+|/opt/self-heal/root/[a-z-]+\.sh)(\ [A-Za-z0-9@.-]+)*$ ]] ||
      { printf 'not a bounded, literal command: %s\n' "$line"; return 1; }
  done < <(sudo_in_handlers)
}

sudoers_broken() {
  sed 's/NOPASSWD: /NOPASSWD /' "$deploy/sudoers.d/healer" >"$work/sudoers"
  refused visudo -c -f "$work/sudoers"
}

units_agree() {
  local rule handler
  rule=$(sed -n 's/.*name=~"(\(.*\))\[\.\]service".*/\1/p' "$deploy/prometheus/heal-examples.rules.yml" | tr '|' '\n' | sed 's/$/.service/' | sort)
  handler=$(sed -n 's/^  \([a-z-]*\.service\))$/\1/p' "$top/handlers/ServiceDown.sh" | sort)
  [[ -n $rule ]]
  same "$rule" "$handler"
}

# --- Alertmanager and Prometheus -----------------------------------------------------------------------------------

am=$deploy/alertmanager/alertmanager.yml
examples=$deploy/prometheus/heal-examples.rules.yml
rules=$deploy/prometheus/self-heal.rules.yml

alertmanager_broken() {
  sed 's/max_alerts: 0/max_alert: 0/' "$am" >"$work/alertmanager.yml"
  refused amtool check-config "$work/alertmanager.yml"
}

routes() {
  amtool config routes test --config.file="$am" --verify.receivers=people,self-heal alertname=NginxDown heal=true
  amtool config routes test --config.file="$am" --verify.receivers=people alertname=NodeDown severity=critical
  refused amtool config routes test --config.file="$am" --verify.receivers=self-heal alertname=NodeDown
}

rules_broken() {
  sed 's/up{job="nginx"} == 0 or/up{job="nginx" == 0 or/' "$examples" >"$work/rules.yml"
  refused promtool check rules "$work/rules.yml"
}

rules_of() { sed -n 's/^      - alert: //p' "$1"; }

# A rule of another name fires for nobody: each must be missed by the tests, and each is also shown not to fire.
every_rule_is_tested() {
  local file name text
  mkdir -p "$work/rules"
  cp "$deploy"/prometheus/*.rules.yml "$deploy"/prometheus/*.rules.test.yml "$work/rules/"
  for file in self-heal heal-examples; do
    [[ $(rules_of "$work/rules/$file.rules.yml" | wc -l) -ge 6 ]]
    text=$(<"$work/rules/$file.rules.yml")
    for name in $(rules_of "$work/rules/$file.rules.yml" | sort -u); do
      printf '%s\n' "$name"
      printf '%s\n' "${text//"- alert: $name"$'\n'/"- alert: ${name}X"$'\n'}" >"$work/rules/$file.rules.yml"
      refused promtool test rules "$work/rules/$file.rules.test.yml"
      grep -Eq "\{alertname: $name, eval_time: [0-9a-z]+, exp_alerts: \[\]\}" "$work/rules/$file.rules.test.yml" ||
        grep -A2 "alertname: $name\$" "$work/rules/$file.rules.test.yml" | grep -q 'exp_alerts: \[\]'
    done
    printf '%s\n' "$text" >"$work/rules/$file.rules.yml"
  done
}

# Who is woken reads what happened, how bad it is and which command answers; no such alert is itself healed.
rules_about_the_healer_are_for_people() {
  local count
  count=$(rules_of "$rules" | wc -l)
  [[ $count -ge 11 ]]
  local part
  for part in 'severity: (critical|warning)$' "summary: '" "description: '.*(self-heal [a-z]|systemctl)"; do
    same "$count" "$(grep -Ec "^ {10}$part" "$rules")"
  done
  refused grep -q 'heal: "true"' "$rules"
}

host_label() {
  local job
  for job in node nginx self-heal; do
    promtool check service-discovery --timeout=1s "$deploy/prometheus/prometheus.yml" "$job" |
      sed -n '/"labels"/,/}/p' | grep -E '"host": "(localhost|127\.0\.0\.1)"'
  done
}

# A real Alertmanager with the shipped file: which alerts does it hold back?
inhibited() { # inhibited PORT HOST: how many alerts of this host are held back
  curl -s --max-time 5 "http://127.0.0.1:$1/api/v2/alerts?filter=host=\"$2\"" | { grep -o '"inhibitedBy":\["' || true; } | wc -l
}

inhibition() {
  local port=$((20000 + RANDOM % 10000)) pid tries
  # No receiver is reached: nothing is notified before group_wait, and this ends sooner.
  prometheus-alertmanager --config.file="$am" --storage.path="$work/am" --cluster.listen-address= \
    --web.listen-address="127.0.0.1:$port" >"$work/am.log" 2>&1 &
  pid=$!
  # shellcheck disable=SC2064 # this pid, now; a check is a subshell, so this is its own trap
  trap "kill $pid 2>/dev/null; wait $pid" EXIT
  for ((tries = 0; tries < 100; tries++)); do
    curl -s --max-time 1 -o /dev/null "http://127.0.0.1:$port/-/ready" && break
    kill -0 "$pid" || { cat "$work/am.log"; return 1; }
    sleep 0.1
  done
  local alerts='[
    {"labels":{"alertname":"NodeDown","host":"web-1","instance":"web-1:9100","job":"node"}},
    {"labels":{"alertname":"NginxDown","heal":"true","host":"web-1","instance":"web-1:80","job":"nginx"}},
    {"labels":{"alertname":"NginxDown","heal":"true","host":"web-2","instance":"web-2:80","job":"nginx"}},
    {"labels":{"alertname":"NodeDown","instance":"nameless:9100","job":"node"}},
    {"labels":{"alertname":"NginxDown","heal":"true","instance":"nameless:80","job":"nginx"}}]'
  curl -sS --fail --max-time 5 -H 'Content-Type: application/json' -d "$alerts" "http://127.0.0.1:$port/api/v2/alerts"
  # The inhibitor learns of an alert a moment after the API took it.
  for ((tries = 0; tries < 50; tries++)); do
    [[ $(inhibited "$port" web-1) == 1 ]] && break
    sleep 0.1
  done
  local one two nameless
  one=$(inhibited "$port" web-1) two=$(inhibited "$port" web-2) nameless=$(inhibited "$port" '')
  same '1 of web-1, 0 of web-2, 0 without a host' "$one of web-1, $two of web-2, $nameless without a host"
}

# --- systemd -------------------------------------------------------------------------------------------------------

units=(self-heal.service self-heal.socket self-heal@.service self-heal-drain.service self-heal-drain.timer
  self-heal-drain.path self-heal-metrics.service self-heal-metrics.timer)

# A root with our units, systemd's own, and stand-ins for what ExecStart= names.
unit_root() {
  local root=$work/units program
  rm -rf "$root"
  mkdir -p "$root/etc/systemd/system" "$root/usr/lib/systemd"
  cp -a /usr/lib/systemd/system "$root/usr/lib/systemd/system"
  cp "$deploy"/systemd/* "$root/etc/systemd/system/"
  for program in opt/self-heal/webhook-listener.sh usr/local/bin/self-heal; do
    mkdir -p "$root/${program%/*}"
    printf '#!/bin/sh\n' >"$root/$program"
    chmod 755 "$root/$program"
  done
}

# systemd-analyze exits 0 for an unknown key; what it says is the verdict.
verify() {
  local said
  said=$(systemd-analyze verify --man=no --root="$work/units" "${units[@]/@./@1.}" 2>&1) || { printf '%s\n' "$said"; return 1; }
  [[ -z $said ]] || { printf '%s\n' "$said"; return 1; }
}

units_verify() { unit_root; verify; }

# The drop-in that puts TLS in front, and the one for a handler that edits below /etc.
units_with_drop_ins() {
  local folder=$work/units/etc/systemd/system
  unit_root
  mkdir "$folder/self-heal.service.d"
  cp "$deploy/tls/self-heal-tls.conf" "$folder/self-heal.service.d/tls.conf"
  cp "$deploy/systemd/nginx-workers.conf" "$folder/self-heal.service.d/"
  refused verify
  install -m 755 /dev/null "$work/units/opt/self-heal/tls-listener.sh"
  verify
}

units_broken() {
  local unit section
  for unit in "${units[@]}"; do
    unit_root
    section=${unit##*.}
    printf '[%s]\nKilMode=process\n' "${section^}" >>"$work/units/etc/systemd/system/$unit"
    refused verify
  done
  unit_root
  rm "$work/units/usr/local/bin/self-heal"
  refused verify
  unit_root
  sed -i 's/^TimeoutStopSec=.*/TimeoutStopSec=soon/' "$work/units/etc/systemd/system/self-heal@.service"
  refused verify
}

# What the units promise, read back the way systemd reads a line: comments apart.
units_say() {
  local unit
  for unit in self-heal.service self-heal@.service; do
    grep -qx 'User=healer' "$deploy/systemd/$unit"
    grep -qx 'KillMode=process' "$deploy/systemd/$unit"
    grep -qx 'SendSIGKILL=no' "$deploy/systemd/$unit"
    # Each of these implies no-new-privileges for an unprivileged User= (systemd.exec(5)): no sudo in any handler.
    refused grep -E '^(NoNewPrivileges|PrivateDevices|ProtectKernel[A-Za-z]*|ProtectClock|ProtectHostname|Restrict[A-Za-z]*|LockPersonality|MemoryDenyWriteExecute|SystemCall[A-Za-z]*|CapabilityBoundingSet|DynamicUser)=' \
      "$deploy/systemd/$unit"
  done
  # It is root's, and has what it reads with and nothing besides.
  grep -qx 'CapabilityBoundingSet=CAP_SETUID CAP_SETGID' "$deploy/systemd/self-heal-metrics.service"
  grep -qx 'NoNewPrivileges=yes' "$deploy/systemd/self-heal-metrics.service"
  grep -qx 'ListenStream=127.0.0.1:9095' "$deploy/systemd/self-heal.socket"
  grep -qx 'Conflicts=self-heal.service' "$deploy/systemd/self-heal.socket"
  grep -qx 'Conflicts=self-heal.socket' "$deploy/systemd/self-heal.service"
}

# The account and its folders made in an empty root. Without root's rights all files stay ours: names are mapped.
account_and_folders() {
  local root=$work/root said folder owner
  mkdir -p "$root/etc" "$root/run/lock" "$root/var/log" "$root/var/lib" "$root/var/backups" "$root/opt"
  said=$(systemd-sysusers --root="$root" --dry-run "$deploy/sysusers.d/self-heal.conf" 2>&1)
  [[ $said == *healer* ]]
  cp "$deploy/tmpfiles.d/self-heal.conf" "$work/tmpfiles.conf"
  if ((EUID == 0)); then
    systemd-sysusers --root="$root" "$deploy/sysusers.d/self-heal.conf"
    grep '^healer:.*:/var/lib/self-heal:/usr/sbin/nologin$' "$root/etc/passwd"
  else
    printf 'healer:x:%d:%d::/:/bin/false\n' "$(id -u)" "$(id -g)" >"$root/etc/passwd"
    printf 'healer:x:%d:\n' "$(id -g)" >"$root/etc/group"
    sed -i -E 's/ root   (root  |healer) / healer healer /' "$work/tmpfiles.conf"
  fi
  said=$(systemd-tmpfiles --root="$root" --create "$work/tmpfiles.conf" 2>&1)
  same '' "$said"
  owner=$(sed -n 's/^healer:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")
  for folder in /var/log/self-heal:750 /run/lock/self-heal:700 /var/lib/self-heal:700; do
    same "${folder#*:} $owner" "$(stat -c '%a %u' "$root${folder%:*}")"
  done
  # Sticky, and not the healer's: what root keeps there the healer cannot rename or remove.
  same "1770 $EUID $owner" "$(stat -c '%a %u %g' "$root/var/backups/self-heal")"
  same 755 "$(stat -c %a "$root/opt/self-heal/handlers")"
}

account_broken() {
  echo 'U healer - "a listener"' >"$work/sysusers.conf"
  refused systemd-sysusers --root="$work/root" --dry-run "$work/sysusers.conf"
  echo 'd /var/log/self-heal 0950 healer healer -' >"$work/tmpfiles.conf"
  refused systemd-tmpfiles --root="$work/root" --create "$work/tmpfiles.conf"
}

# --- logrotate -----------------------------------------------------------------------------------------------------

# The shipped file, with folders and account of this run in the places of the real ones.
logrotate_copy() {
  rm -rf "$work/rotate"
  mkdir "$work/rotate"
  mkdir -m 700 "$work/rotate/log" "$work/rotate/state"
  sed -e "s|/var/log/self-heal|$work/rotate/log|; s|/var/lib/self-heal|$work/rotate/state|" \
    -e "s/ healer healer$/ $(id -un) $(id -gn)/" "$deploy/logrotate.d/self-heal" >"$work/rotate/conf"
  chmod 600 "$work/rotate/conf"
}

logrotate_reads() {
  local said
  logrotate_copy
  echo line >"$work/rotate/log/listener.log"
  said=$(logrotate -d "$work/rotate/conf" 2>&1)
  # -d announces itself with a warning, in the first line.
  refused grep -iE 'error|unknown|warning' <<<"${said#*debug mode*$'\n'}"
  grep 'considering log .*listener.log' <<<"$said"
}

logrotate_broken() {
  logrotate_copy
  sed -i 's/delaycompress/delaycompres/' "$work/rotate/conf"
  local said
  said=$(logrotate -d "$work/rotate/conf" 2>&1) || true
  grep -i 'unknown option' <<<"$said"
}

# Two turns with a writer that holds the file open from the beginning, as a handler does: nothing is lost.
logrotate_loses_nothing() {
  local turn writer
  logrotate_copy
  exec {writer}>>"$work/rotate/log/NginxDown.log"
  echo '{"seq":1}' >"$work/rotate/state/history.jsonl"
  for turn in 1 2; do
    echo "held open, turn $turn" >&"$writer"
    [[ $turn == 1 ]] || echo 'a later connection' >>"$work/rotate/log/NginxDown.log"
    logrotate -f -s "$work/rotate/status" "$work/rotate/conf"
    [[ $turn == 2 ]] || echo 'held open, after the turn' >&"$writer"
  done
  exec {writer}>&-
  same 'held open, turn 1
held open, after the turn
held open, turn 2' "$(zcat -f "$work/rotate/log/NginxDown.log.2.gz")"
  same 'a later connection' "$(cat "$work/rotate/log/NginxDown.log.1")"
  same '640 0' "$(stat -c '%a %s' "$work/rotate/log/NginxDown.log")"
  same '600 0' "$(stat -c '%a %s' "$work/rotate/state/history.jsonl")"
}

# --- configuration -------------------------------------------------------------------------------------------------

# The sample names every key the program knows, with its default, and no other.
sample_configuration() {
  local known sample
  known=$(grep -rhE -A1 '^ *name: "HEAL_[A-Z_]+",' "$top/src/wire/config" |
    sed -nE 's/^ *(name|default): "(.*)",/\2/p' | paste -d= - - | sort)
  [[ -n $known ]]
  sample=$(sed -n 's/^#\(HEAL_[A-Z_]*=\)/\1/p' "$deploy/self-heal.conf" | sort)
  # Keys without a default are shown with an example.
  local key
  while IFS= read -r key; do
    sample=$(printf '%s\n' "$sample" | sed "s|^$key=.*|$key=|")
  done < <(sed -n 's/^\(.*\)=$/\1/p' <<<"$known")
  same "$known" "$sample"
  same '' "$(grep -v '^#' "$deploy/self-heal.conf" | grep -v '^$' || true)"
}

spawners_agree() {
  local file
  for file in inetd/inetd.conf xinetd/self-heal; do
    grep -q '^[^#]*127\.0\.0\.1' "$deploy/$file"
    grep -q '^[^#]*/usr/local/bin/self-heal' "$deploy/$file"
    grep -q '^[^#]*healer' "$deploy/$file"
  done
}

# --- all of it -----------------------------------------------------------------------------------------------------

for tool in bash shellcheck visudo cvtsudoers amtool promtool prometheus-alertmanager curl systemd-analyze \
  systemd-sysusers systemd-tmpfiles logrotate zcat openssl nginx; do
  check "tool: $tool" command -v "$tool"
done

check_scripts
mkdir -p "$work/listener"
# shellcheck disable=SC2016 # the stand-in's text
printf '#!/bin/sh\necho "$*"\n' >"$work/listener/socat"
chmod 755 "$work/listener/socat"
check 'build-release: takes the ways it names and no other word' build_release_takes_ways
check 'webhook-listener: port from environment, file, default' listener_takes_the_port
check 'webhook-listener: refuses what is no port, runs no configuration' listener_runs_no_configuration

check 'tls: a certificate to try with' tls_certificate
check 'tls-listener: what it listens with' tls_listener_says
check 'tls-listener: refuses what socat would read otherwise' tls_listener_refuses
check 'nginx: takes the TLS front without a warning' nginx_with ''
check 'nginx: a broken one is refused' nginx_broken
check 'nginx: its limits are those of self-heal.conf' nginx_agrees

check 'sudoers: visudo accepts it' visudo -c -f "$deploy/sudoers.d/healer"
check 'sudoers: visudo refuses a broken one' sudoers_broken
check 'sudoers: the same commands as in the handlers' sudo_lines_agree
check 'sudoers: every command literal and bounded by timeout' sudo_lines_are_plain_and_bounded
check 'sudoers: what varies is a run id and nothing else' run_ids_are_run_ids
check 'ServiceDown: the same units in rule and handler' units_agree

check 'alertmanager: amtool accepts it' amtool check-config "$am"
check 'alertmanager: amtool accepts its side of TLS' amtool check-config "$deploy/tls/alertmanager.yml"
check 'alertmanager: amtool refuses an unknown key' alertmanager_broken
check 'alertmanager: routes' routes
check 'alertmanager: a dead node inhibits its own host and no other' inhibition
check 'prometheus: configuration' promtool check config "$deploy/prometheus/prometheus.yml"
check 'prometheus: rules' promtool check rules "$rules" "$examples"
check 'prometheus: a broken rule is refused' rules_broken
check 'prometheus: rules fire when they should' promtool test rules "$deploy"/prometheus/*.rules.test.yml
check 'prometheus: every rule is tested' every_rule_is_tested
check 'prometheus: the rules about the healer say who is to do what' rules_about_the_healer_are_for_people
check 'prometheus: every target has its host label' host_label

check 'systemd: the units verify' units_verify
check 'systemd: the drop-ins verify' units_with_drop_ins
check 'systemd: broken units do not' units_broken
check 'systemd: what the units promise' units_say
check 'sysusers.d, tmpfiles.d: account and folders' account_and_folders
check 'sysusers.d, tmpfiles.d: broken lines are refused' account_broken

check 'logrotate: reads it without complaint' logrotate_reads
check 'logrotate: an unknown option is a complaint' logrotate_broken
check 'logrotate: two rotations lose nothing' logrotate_loses_nothing

check 'self-heal.conf: every key, with its default' sample_configuration
check 'inetd, xinetd: loopback, account, executable' spawners_agree

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
