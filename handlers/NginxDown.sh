#!/bin/bash
# NginxDown INSTANCE ALERTNAME FINGERPRINT: gets nginx to answer again on the machine this runs on.
#
# The instance chooses nothing here: allowed-instances.txt has decided that this alert is about this machine, so it
# must list no other. One lock for all instances (no lock=instance): two addresses of this machine are one nginx.
#
# self-heal: timeout=3m
set -euo pipefail

# Where nginx has to answer. With a default server that hangs up on purpose (return 444), name one that speaks.
readonly port=80

# --- The machine: everything that asks or changes it. Each `sudo -n` line is a line of sudoers.d/healer, word for
# --- word, and bounded by timeout(1), because nobody here may signal a process of root.
unit_property() { /usr/bin/systemctl show --property="$1" --value nginx.service; }
system_state() { /usr/bin/systemctl is-system-running || true; }
config_test() { sudo -n /usr/bin/timeout -k 5 30 /usr/sbin/nginx -t; }
reset_failed() { sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl reset-failed nginx.service; }
restart() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl restart nginx.service; }
# --- End of the machine.

say() { printf '%(%FT%TZ)T %s\n' -1 "$*"; }
healed() { say "healed: $*"; exit 0; }
failed() { say "failed: $*"; exit 1; }
give_up() { say "giving up, a person is needed: $*"; exit 2; }
not_now() { say "not now: $*"; exit 75; }

# Any HTTP answer counts, errors included: the alert says that nginx does not answer, not what it says.
answers() {
  # shellcheck disable=SC2016 # the inner shell expands it
  /usr/bin/timeout 5 /bin/bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf "HEAD / HTTP/1.0\r\n\r\n" >&3
    IFS= read -r status <&3 && [[ $status == HTTP/* ]]' bash "$port" 2>/dev/null
}

# apt and dpkg hold this lock (a record lock, seen in /proc/locks: proc(5)) while packages are half installed.
packages_changing() {
  local inode
  inode=$(stat -c %i /var/lib/dpkg/lock-frontend 2>/dev/null) && grep -q ":$inode " /proc/locks
}

export TZ=UTC
say "attempt ${HEAL_ATTEMPT:-1} for ${1:-this machine}"

# Already up: the alert was late, or somebody was quicker.
if answers; then healed 'nginx answers; nothing done'; fi

case $(system_state) in
  stopping) not_now 'the system is going down' ;;
  maintenance) not_now 'the system is in rescue mode: somebody is at it' ;;
esac
case $(unit_property LoadState) in
  masked) give_up 'nginx.service is masked: somebody wants it down' ;;
  not-found) give_up 'there is no nginx.service here' ;;
esac
# auto-restart is "activating" too, but nobody is at work: a crash loop waits for its next turn.
case $(unit_property ActiveState)/$(unit_property SubState) in
  */auto-restart) ;;
  activating/* | deactivating/* | reloading/*) not_now 'nginx.service is being started, stopped or reloaded' ;;
esac
if packages_changing; then not_now 'packages are being installed'; fi

# Before the restart: a running nginx with a broken file on disk must not be stopped, a dead one would not start.
status=0
report=$(config_test 2>&1) || status=$?
printf '%s\n' "$report"
case $status in
  0) ;;
  124 | 137) failed 'nginx -t took too long' ;;
  *)
    # Name servers come back; a file does not mend itself. A refusal by sudo does not either.
    if [[ $report == *'host not found in '* ]]; then failed 'a name in the configuration does not resolve'; fi
    give_up 'nginx -t fails, or sudo refuses it'
    ;;
esac

# A unit that failed too often is not started again until it is forgotten (systemd.unit(5), StartLimitBurst=).
reset_failed || say 'reset-failed did not work; going on'
restart || failed 'the restart failed: see journalctl -u nginx.service'

until=$((SECONDS + 20))
while ((SECONDS < until)); do
  if answers; then healed 'nginx answers after a restart'; fi
  sleep 1
done
failed "nginx was restarted and does not answer on port $port"
