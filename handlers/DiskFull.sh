#!/bin/bash
# DiskFull INSTANCE ALERTNAME FINGERPRINT: frees space by a short list of measures that lose nothing anybody needs.
#
# The alert's label `mountpoint` is compared with the lines of /etc/self-heal/disk-full.conf, a file of root's, and is
# nothing else here: no path, no option, no word of a command. What is deleted, and what is kept, that file says too,
# and root/disk-full.sh, which does it, reads it for itself.
#
# The disk may be full to the last block: nothing here writes a file, and what cannot be said is not.
#
# self-heal: timeout=15m
set -euo pipefail

readonly list=/etc/self-heal/disk-full.conf

# --- The machine: everything that asks or changes it. Each `sudo -n` line is a line of sudoers.d/healer, word for
# --- word, and bounded by timeout(1), because nobody here may signal a process of root.
free_by() {
  case $1 in
    journal) sudo -n /usr/bin/timeout -k 5 180 /opt/self-heal/root/disk-full.sh journal ;;
    logs) sudo -n /usr/bin/timeout -k 5 180 /opt/self-heal/root/disk-full.sh logs ;;
    apt) sudo -n /usr/bin/timeout -k 5 180 /opt/self-heal/root/disk-full.sh apt ;;
    coredumps) sudo -n /usr/bin/timeout -k 5 180 /opt/self-heal/root/disk-full.sh coredumps ;;
  esac
}
# --- End of the machine.

# The log may lie on the full disk.
say() { printf '%(%FT%TZ)T %s\n' -1 "$*" 2>/dev/null || true; }
healed() { say "healed: $*"; exit 0; }
failed() { say "failed: $*"; exit 1; }
give_up() { say "giving up, a person is needed: $*"; exit 2; }
not_now() { say "not now: $*"; exit 75; }

# What df(1) calls Use%: of what everybody but root may have, rounded up.
percent() {
  local blocks free available
  read -r blocks free available < <(stat --file-system --format='%b %f %a' -- "$mount")
  printf '%s' $((((blocks - free) * 100 + blocks - free + available - 1) / (blocks - free + available)))
}

# apt and dpkg hold this lock (a record lock, seen in /proc/locks: proc(5)) while packages are half installed.
packages_changing() {
  local inode
  inode=$(stat -c %i /var/lib/dpkg/lock-frontend 2>/dev/null) && grep -q ":$inode " /proc/locks
}

export TZ=UTC LC_ALL=C
say "attempt ${HEAL_ATTEMPT:-1} for ${1:-this machine}"

[[ -n $(find "$list" -maxdepth 0 -type f -uid 0 ! -perm /022 2>/dev/null) ]] ||
  give_up "$list has to be there, root's, and writable by nobody else"
mount='' target=''
while read -r kind point most rest || [[ -n $kind ]]; do
  if [[ $kind == mount && $point == "${HEAL_LABEL_mountpoint:-}" && $most =~ ^[1-9][0-9]?$ && -z $rest ]]; then
    mount=$point target=$most
  fi
done <"$list"
[[ -n $mount ]] || give_up "the label mountpoint is on no line of $list: mount MOUNTPOINT PERCENT"
mountpoint -q -- "$mount" || give_up "$mount is not mounted"

# Already done: the alert was late, or somebody was quicker.
before=$(percent)
if ((before <= target)); then healed "$mount is $before % full; nothing done"; fi

sum=0 broken='' waiting=no
for measure in journal logs apt coredumps; do
  # What is being installed needs its archives.
  if [[ $measure == apt ]] && packages_changing; then
    waiting=yes
    say 'apt: packages are being installed; left alone'
    continue
  fi
  status=0
  report=$(free_by "$measure" 2>&1) || status=$?
  freed=0
  if [[ ${report##*$'\n'} =~ ^freed\ ([0-9]+)$ ]]; then freed=${BASH_REMATCH[1]}; fi
  sum=$((sum + freed))
  now=$(percent)
  say "$measure: $freed bytes freed, exit $status, $mount is $now % full; ${report//$'\n'/; }"
  case $status in
    0) ;;
    2) give_up "disk-full.sh refuses: see above" ;;
    *) broken+=" $measure" ;;
  esac
  if ((now <= target)); then healed "$sum bytes freed, $mount went from $before % to $now %"; fi
done

ending="$sum bytes freed, $mount is at $now % and should be at $target %"
# In this order: what may yet help is tried again, and only when all is done nobody but a person is left.
if [[ $waiting == yes ]]; then not_now "$ending; packages are being installed"; fi
if [[ -n $broken ]]; then failed "$ending; did not work:$broken"; fi
give_up "$ending"
