#!/bin/bash
# ProcessCount INSTANCE ALERTNAME FINGERPRINT: one step more, or fewer, instances of a systemd template.
#
# The alert's label `service` is compared with the lines of /etc/self-heal/process-count.conf, a file of root's; the
# template, the bounds and the step are that line's. The label `scale` says up or down. Nothing else of the alert is
# looked at, and no text of it becomes a part of a command: sudoers names each instance that may be started or stopped.
#
# Instances are numbered from 1: the lowest that does not run is started, the highest that does is stopped. So an
# attempt after one that failed takes up the same instance again. At a bound a person has to say what comes next.
#
# self-heal: timeout=10m
set -euo pipefail

readonly list=/etc/self-heal/process-count.conf

# --- The machine: everything that asks or changes it. Each `sudo -n` line is, for each instance of the list, a line of
# --- sudoers.d/healer, and bounded by timeout(1), because nobody here may signal a process of root.
unit_property() { /usr/bin/systemctl show --property="$1" --value "$2"; }
system_state() { /usr/bin/systemctl is-system-running || true; }
# UNIT LOAD ACTIVE SUB …, a line for each instance that is anything but inactive.
instances() {
  /usr/bin/systemctl list-units --plain --no-legend --no-pager --full \
    --state=active,reloading,activating,deactivating "${template}*.service"
}
reset_failed() { sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl reset-failed "$1"; }
start() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl start "$1"; }
stop() { sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl stop "$1"; }
# --- End of the machine.

say() { printf '%(%FT%TZ)T %s\n' -1 "$*"; }
healed() { say "healed: $*"; exit 0; }
failed() { say "failed: $*"; exit 1; }
give_up() { say "giving up, a person is needed: $*"; exit 2; }
not_now() { say "not now: $*"; exit 75; }

# The line of the list that the label names.
find_service() {
  local name unit low high by rest number=0
  while read -r name unit low high by rest || [[ -n $name ]]; do
    number=$((number + 1))
    if [[ -z $name || $name == '#'* ]]; then continue; fi
    if ! [[ $unit =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*@$ && $low =~ ^(0|[1-9][0-9]?)$ && $high =~ ^[1-9][0-9]?$ &&
      $by =~ ^[1-9][0-9]?$ && -z $rest ]] || ((low > high)); then
      give_up "$list:$number: not: SERVICE TEMPLATE@ MIN MAX STEP"
    fi
    if [[ $name != "${HEAL_LABEL_service:-}" ]]; then continue; fi
    [[ -z $template ]] || give_up "$list:$number: $name for the second time"
    service=$name template=$unit min=$low max=$high step=$by
  done <"$list"
}

# Whoever runs now into `running`, by name. Somebody in between is waited for elsewhere: the sender asks again.
look() {
  local listing unit state sub
  listing=$(instances) || failed 'systemctl list-units does not answer'
  running=()
  while read -r unit _ state sub _; do
    case $state/$sub in
      active/*) running[$unit]=yes ;;
      # A crash loop that waits for its next turn: nobody is at work.
      / | activating/auto-restart) ;;
      *) not_now "$unit is being started, stopped or reloaded" ;;
    esac
  done <<<"$listing"
}

# Up and staying up: the same main process for three seconds. One that crashes at start is active for a moment too.
stay_up() { # stay_up UNIT…
  local unit
  local -A main=()
  for unit in "$@"; do main[$unit]=$(unit_property MainPID "$unit"); done
  sleep 3
  for unit in "$@"; do
    [[ $(unit_property ActiveState "$unit") == active && ${main[$unit]} != 0 &&
      $(unit_property MainPID "$unit") == "${main[$unit]}" ]] || failed "$unit does not stay up"
  done
}

export TZ=UTC LC_ALL=C
[[ -n $(find "$list" -maxdepth 0 -type f -uid 0 ! -perm /022 2>/dev/null) ]] ||
  give_up "$list has to be there, root's, and writable by nobody else"
service='' template='' min=0 max=0 step=0
find_service
[[ -n $template ]] || give_up "the label service is on no line of $list"
say "$service: attempt ${HEAL_ATTEMPT:-1} for ${1:-this machine}"

case $(system_state) in
  stopping) not_now 'the system is going down' ;;
  maintenance) not_now 'the system is in rescue mode: somebody is at it' ;;
esac
declare -A running=()
look
count=${#running[@]}
changed=()
case ${HEAL_LABEL_scale:-} in
  up)
    ((count < max)) || give_up "$count of at most $max instances of $template run: are more wanted?"
    # Below the least, to the least at once.
    goal=$((count + step < min ? min : count + step > max ? max : count + step))
    for ((number = 1; number <= max && count + ${#changed[@]} < goal; number++)); do
      unit=$template$number.service
      if [[ -n ${running[$unit]:-} ]]; then continue; fi
      case $(unit_property LoadState "$unit") in
        loaded) ;;
        masked) give_up "$unit is masked: somebody wants it down" ;;
        *) give_up "there is no $unit: is $template.service installed?" ;;
      esac
      # A unit that failed too often is not started again until it is forgotten (systemd.unit(5), StartLimitBurst=).
      if [[ $(unit_property ActiveState "$unit") == failed ]]; then
        reset_failed "$unit" || say 'reset-failed did not work; going on'
      fi
      start "$unit" || failed "$unit was not started: see journalctl -u $unit, and whether sudoers names it"
      changed+=("$unit")
    done
    stay_up "${changed[@]}"
    ;;
  down)
    ((count > min)) || give_up "$count of at least $min instances of $template run: may it be fewer?"
    goal=$((count - step < min ? min : count - step))
    for ((number = max; number >= 1 && count - ${#changed[@]} > goal; number--)); do
      unit=$template$number.service
      if [[ -z ${running[$unit]:-} ]]; then continue; fi
      stop "$unit" || failed "$unit was not stopped: see journalctl -u $unit, and whether sudoers names it"
      [[ $(unit_property ActiveState "$unit") != active ]] || failed "$unit was stopped and is active"
      changed+=("$unit")
    done
    ;;
  *) give_up 'the label scale says neither up nor down' ;;
esac

# What systemd says now, and not what was counted on the way.
look
say "$template: $count before, ${#running[@]} now, $goal wanted; changed: ${changed[*]:-none}"
((${#running[@]} == goal)) || give_up "instances besides 1 to $max run, or somebody else starts and stops them too"
healed "${#running[@]} instances of $template run"
