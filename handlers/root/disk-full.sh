#!/bin/bash -p
# The part of DiskFull.sh that root does: disk-full.sh journal|logs|apt|coredumps frees space by that one measure.
#
# It lives in /opt/self-heal/root, which is root's, and not among the handlers, which may be the healer's: whoever can
# change what sudo runs is root. Each measure is a line of sudoers.d/healer, word for word; beside the measure it takes
# nothing from its caller, no variable, no input. -p: no function or start file of the caller's.
#
# Whoever calls it, and how often: it acts only on what /etc/self-heal/disk-full.conf lists, only where that lies on a
# file system that is fuller than the file says, and never on what the file says to keep. It writes no file of its own.
#
# Exit: 0 done, the last line says `freed BYTES`; 2 refused, and why; 1 a part of it failed, `freed` counts the rest.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C

readonly list=/etc/self-heal/disk-full.conf
readonly journal=/var/log/journal
readonly archives=/var/cache/apt/archives
readonly dumps=/var/lib/systemd/coredump
journalctl() { /usr/bin/journalctl "$@"; }
apt_get() { /usr/bin/apt-get "$@"; }

# What logrotate(8) and its like leave behind: numbered, dated, packed. Never the name that is written to.
readonly rotated=(
  -name '*.gz' -o -name '*.xz' -o -name '*.bz2' -o -name '*.zst' -o -name '*.[0-9]' -o -name '*.[0-9][0-9]'
  -o -name '*-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
)

refuse() { printf 'refused: %s\n' "$*"; exit 2; }

freed=0 failed=no
complain() { printf 'failed: %s\n' "$*"; failed=yes; }

# What df(1) calls Use%: of what everybody but root may have, rounded up.
percent() {
  local blocks free available
  read -r blocks free available < <(stat --file-system --format='%b %f %a' -- "$1")
  printf '%s' $((((blocks - free) * 100 + blocks - free + available - 1) / (blocks - free + available)))
}

# Whether a folder lies on a listed file system that is fuller than it should be.
too_full() {
  local device point most
  device=$(stat --format=%d -- "$1") || return 1
  for point in "${!target[@]}"; do
    if mountpoint -q -- "$point" && [[ $(stat --format=%d -- "$point") == "$device" ]]; then
      most=${target[$point]}
      (($(percent "$point") > most))
      return
    fi
  done
  printf '%s: on no listed file system; left alone\n' "$1"
  return 1
}

# A folder of two parts at least, under its real name, that nobody but root can put another one in the place of: what
# is above it is root's to write, and no link. What is inside may be anybody's.
fixed() {
  local above=$1
  [[ $above =~ ^(/[A-Za-z0-9_+@-][A-Za-z0-9_.+@-]*){2,}$ && -d $above && $(realpath -- "$above") == "$above" ]] || return 1
  while [[ -n $above ]]; do
    above=${above%/*}
    [[ -n $(find "${above:-/}" -maxdepth 0 -type d -uid 0 ! -perm /022) ]] || return 1
  done
}

# Deletes old files below a folder and counts them. find(1) follows no link (-P), enters no other file system (-xdev)
# and deletes relative to folders it holds open (unlinkat(2)), so that a folder that somebody swaps for a link on the way
# leads nowhere. A file with a second name, or held open, would free nothing; one held open may be alive besides.
delete() { # delete FOLDER DAYS FIND-TEST…
  local folder=$1 days=$2 here device inode blocks count=0 bytes=0 open=()
  shift 2
  fixed "$folder" || { complain "$folder: not a real folder in root's hands"; return; }
  too_full "$folder" || return 0
  here=$(stat --format=%d -- "$folder")
  while read -r device inode; do
    if [[ $device == "$here" ]]; then open+=(! -inum "$inode"); fi
  done < <(find -L /proc/[0-9]*/fd -maxdepth 1 -type f -printf '%D %i\n' 2>/dev/null | sort -u)
  while read -r blocks; do
    count=$((count + 1)) bytes=$((bytes + blocks * 512))
  done < <(find -P "$folder" -xdev -ignore_readdir_race -type f -links 1 -mmin "+$((days * 1440))" "${open[@]}" \
    \( "$@" \) -delete -printf '%b\n')
  wait $! || complain "$folder: see above"
  freed=$((freed + bytes))
  printf '%s: %d files, %d bytes\n' "$folder" "$count" "$bytes"
}

# Runs another program's own cleaning, and counts what its folder lost.
clean() { # clean FOLDER COMMAND…
  local folder=$1 before after
  shift
  [[ -d $folder ]] || { printf '%s: not there\n' "$folder"; return 0; }
  too_full "$folder" || return 0
  before=$(size "$folder")
  "$@" || complain "$*"
  after=$(size "$folder")
  printf '%s: %d bytes before, %d after\n' "$folder" "$before" "$after"
  if ((after < before)); then freed=$((freed + before - after)); fi
}
# What vanishes meanwhile, journald's own doing, is no failure.
size() { { du --summarize --one-file-system --block-size=1 -- "$1" || true; } | cut -f 1; }

case $#:${1:-} in
  1:journal | 1:logs | 1:apt | 1:coredumps) ;;
  *) refuse 'it takes one word: journal, logs, apt or coredumps' ;;
esac
[[ -n $(find "$list" -maxdepth 0 -type f -uid 0 ! -perm /022 2>/dev/null) ]] ||
  refuse "$list has to be there, root's, and writable by nobody else"

# --- The list, read whole before anything is deleted.
declare -A target=()
folders=() days=() keep='' clean_apt=no dump_days='' number=0
while read -r kind first second rest || [[ -n $kind ]]; do
  number=$((number + 1))
  case $kind in
    '' | '#'*) continue ;;
    mount) [[ $first == /* && $second =~ ^[1-9][0-9]?$ && -z $rest ]] && target[$first]=$second ;;
    journal) [[ $first =~ ^[1-9][0-9]{0,5}$ && -z $second ]] && keep=$first ;;
    logs) [[ $first == /* && $second =~ ^[1-9][0-9]{0,3}$ && -z $rest ]] && folders+=("$first") && days+=("$second") ;;
    apt) [[ -z $first ]] && clean_apt=yes ;;
    coredumps) [[ $first =~ ^[1-9][0-9]{0,3}$ && -z $second ]] && dump_days=$first ;;
    *) false ;;
  esac || refuse "$list:$number: not understood"
done <"$list"

case $1 in
  journal) if [[ -n $keep ]]; then clean "$journal" journalctl --quiet --vacuum-size="${keep}M"; fi ;;
  logs)
    for at in "${!folders[@]}"; do delete "${folders[at]}" "${days[at]}" "${rotated[@]}"; done
    ;;
  apt) if [[ $clean_apt == yes ]]; then clean "$archives" apt_get --quiet clean; fi ;;
  coredumps) if [[ -n $dump_days && -d $dumps ]]; then delete "$dumps" "$dump_days" -name 'core.*'; fi ;;
esac
printf 'freed %d\n' "$freed"
[[ $failed == no ]]
