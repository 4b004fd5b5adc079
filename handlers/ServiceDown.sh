#!/bin/bash
# ServiceDown INSTANCE ALERTNAME FINGERPRINT: restarts a failed systemd unit on the machine this runs on.
#
# The alert's label `name` (node_exporter's node_systemd_unit_state) says which, through the table below: nothing of
# the alert becomes a command, and what is not in the table is not touched. A unit more is an entry here, two lines in
# sudoers.d/healer, and its name in heal-examples.rules.yml.
#
# The instance chooses nothing here: allowed-instances.txt has decided that this alert is about this machine, so it
# must list no other. One lock for all units (no lock=instance, which would be the same: one exporter).
#
# self-heal: timeout=3m
set -euo pipefail

# A real check beside systemd's opinion. Redis: +PONG, or -NOAUTH where a password is asked for.
redis_answers() {
  local reply
  # shellcheck disable=SC2016 # the inner shell expands it
  reply=$(/usr/bin/timeout 5 /bin/bash -c '
    exec 3<>/dev/tcp/127.0.0.1/6379 || exit 1
    printf "PING\r\n" >&3
    IFS= read -r reply <&3 && printf %s "$reply"' 2>/dev/null) && [[ $reply == +PONG* || $reply == -NOAUTH* ]]
}

# --- The machine: everything that asks or changes it. Each `sudo -n` line is a line of sudoers.d/healer, word for
# --- word, and bounded by timeout(1), because nobody here may signal a process of root.
unit_property() { /usr/bin/systemctl show --property="$1" --value "$unit"; }
system_state() { /usr/bin/systemctl is-system-running || true; }
case ${HEAL_LABEL_name:-} in
  cron.service)
    unit=cron.service
    reset_failed() { sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl reset-failed cron.service; }
    restart() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl restart cron.service; }
    works() { true; }
    ;;
  redis-server.service)
    unit=redis-server.service
    reset_failed() { sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl reset-failed redis-server.service; }
    restart() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl restart redis-server.service; }
    works() { redis_answers; }
    ;;
  rsyslog.service)
    unit=rsyslog.service
    reset_failed() { sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl reset-failed rsyslog.service; }
    restart() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl restart rsyslog.service; }
    works() { [[ -S /dev/log ]]; }
    ;;
  *)
    unit=
    ;;
esac
# --- End of the machine.

say() { printf '%(%FT%TZ)T %s\n' -1 "$*"; }
healed() { say "healed: $*"; exit 0; }
failed() { say "failed: $*"; exit 1; }
give_up() { say "giving up, a person is needed: $*"; exit 2; }
not_now() { say "not now: $*"; exit 75; }

# Up and staying up: the same main process for three seconds. One that crashes at start is active for a moment too.
up() {
  local before after
  [[ $(unit_property ActiveState) == active ]] || return 1
  before=$(unit_property MainPID)
  sleep 3
  after=$(unit_property MainPID)
  [[ $before != 0 && $before == "$after" && $(unit_property ActiveState) == active ]] && works
}

# apt and dpkg hold this lock (a record lock, seen in /proc/locks: proc(5)) while packages are half installed.
packages_changing() {
  local inode
  inode=$(stat -c %i /var/lib/dpkg/lock-frontend 2>/dev/null) && grep -q ":$inode " /proc/locks
}

export TZ=UTC
[[ -n $unit ]] || give_up 'the label name says no unit of the table in ServiceDown.sh'
say "$unit: attempt ${HEAL_ATTEMPT:-1} for ${1:-this machine}"

# Already up: the alert was late, or somebody was quicker.
if up; then healed "$unit is up; nothing done"; fi

case $(system_state) in
  stopping) not_now 'the system is going down' ;;
  maintenance) not_now 'the system is in rescue mode: somebody is at it' ;;
esac
case $(unit_property LoadState) in
  masked) give_up "$unit is masked: somebody wants it down" ;;
  not-found) give_up "there is no $unit here" ;;
esac
# auto-restart is "activating" too, but nobody is at work: a crash loop waits for its next turn.
case $(unit_property ActiveState)/$(unit_property SubState) in
  */auto-restart) ;;
  activating/* | deactivating/* | reloading/*) not_now "$unit is being started, stopped or reloaded" ;;
esac
if packages_changing; then not_now 'packages are being installed'; fi

# A unit that failed too often is not started again until it is forgotten (systemd.unit(5), StartLimitBurst=).
reset_failed || say 'reset-failed did not work; going on'
restart || failed "the restart failed: see journalctl -u $unit"

for ((look = 0; look < 6; look++)); do
  if up; then healed "$unit is up after a restart"; fi
  sleep 1
done
failed "$unit was restarted and does not stay up"
