#!/bin/bash
# NginxWorkers INSTANCE ALERTNAME FINGERPRINT: nginx runs out of worker connections; raises its limits.
#
# How far is written in /etc/self-heal/nginx-workers.conf and nowhere else: nothing of the alert chooses anything. Once
# the limits are there, a person is asked, because a limit that is always reached is no limit that is too low.
#
# The edit is tried in its place, as nginx will read it. Whatever goes wrong after it ends this with another code than 0
# and 75: self-heal puts the old file back (snapshot=) and runs NginxWorkers.restored, which makes nginx take it.
#
# self-heal: timeout=4m snapshot=/etc/nginx/nginx.conf
set -euo pipefail

# Where nginx has to answer. With a default server that hangs up on purpose (return 444), name one that speaks.
readonly port=80

# --- The machine: everything that asks or changes it. Each `sudo -n` line is a line of sudoers.d/healer, word for
# --- word, and bounded by timeout(1), because nobody here may signal a process of root.
unit_property() { /usr/bin/systemctl show --property="$1" --value nginx.service; }
system_state() { /usr/bin/systemctl is-system-running || true; }
config_test() { sudo -n /usr/bin/timeout -k 5 30 /usr/sbin/nginx -t; }
raise_limits() { sudo -n /usr/bin/timeout -k 5 60 /opt/self-heal/root/nginx-workers.sh; }
reload() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl reload nginx.service; }
# --- End of the machine.

say() { printf '%(%FT%TZ)T %s\n' -1 "$*"; }
healed() { say "healed: $*"; exit 0; }
failed() { say "failed: $*"; exit 1; }
give_up() { say "giving up, a person is needed: $*"; exit 2; }
not_now() { say "not now: $*"; exit 75; }

# Any HTTP answer counts, errors included: the question is whether nginx answers, not what it says.
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

# nginx -t, with its report in the log. What is wrong in a file does not mend itself, name servers come back.
accepted_or() { # accepted_or FUNCTION TEXT: how to end, and why, where the file is refused
  local report status=0
  report=$(config_test 2>&1) || status=$?
  printf '%s\n' "$report"
  case $status in
    0) ;;
    124 | 137) failed 'nginx -t took too long' ;;
    *)
      if [[ $report == *'host not found in '* ]]; then failed 'a name in the configuration does not resolve'; fi
      "$1" "$2"
      ;;
  esac
}

# The workers by process id, a blank around each.
workers() {
  local master pid children=() list=' '
  master=$(unit_property MainPID)
  # The kernel ends the list without a newline, and read calls that a failure.
  read -ra children <"/proc/$master/task/$master/children" || true
  for pid in "${children[@]}"; do
    if [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == 'nginx: worker process'* ]]; then list+="$pid "; fi
  done
  printf '%s' "$list"
}

# A worker that was not there before and may open so many files: nginx has taken the new file. The exit code of a reload
# tells only that the master was signalled.
taken() { # taken OLD-WORKERS FILES
  local pid limits
  for pid in $(workers); do
    if [[ $1 == *" $pid "* ]]; then continue; fi
    limits=$(cat "/proc/$pid/limits" 2>/dev/null) || continue
    if [[ $limits =~ 'Max open files'\ +([0-9]+) ]] && ((BASH_REMATCH[1] >= $2)); then return 0; fi
  done
  return 1
}

export TZ=UTC LC_ALL=C
say "attempt ${HEAL_ATTEMPT:-1} for ${1:-this machine}"

case $(system_state) in
  stopping) not_now 'the system is going down' ;;
  maintenance) not_now 'the system is in rescue mode: somebody is at it' ;;
esac
case $(unit_property ActiveState) in
  active) ;;
  activating | deactivating | reloading) not_now 'nginx.service is being started, stopped or reloaded' ;;
  *) failed 'nginx.service does not run: that is for NginxDown' ;;
esac
if packages_changing; then not_now 'packages are being installed'; fi
accepted_or give_up 'nginx -t fails before anything was changed, or sudo refuses it'
before=$(workers)

status=0
report=$(raise_limits 2>&1) || status=$?
printf '%s\n' "$report"
case $status in
  0) ;;
  2) give_up 'nginx.conf or nginx-workers.conf is not what nginx-workers.sh understands' ;;
  3) give_up 'the limits are those of nginx-workers.conf already: where do the connections come from?' ;;
  *) failed 'the limits could not be written, or sudo refuses it' ;;
esac
[[ $report =~ worker_rlimit_nofile\ ([0-9]+)$ ]] || failed 'nginx-workers.sh does not say what it wrote'
files=${BASH_REMATCH[1]}

accepted_or give_up 'nginx -t refuses the new limits'
reload || failed 'the reload failed: see journalctl -u nginx.service'
until=$((SECONDS + 30))
while ((SECONDS < until)); do
  if taken "$before" "$files" && answers; then healed "nginx serves with ${report##*$'\n'}"; fi
  sleep 0.2
done
failed 'nginx was reloaded, and no worker with the new limits answers'
