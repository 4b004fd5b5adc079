#!/bin/bash -p
# The part of NginxWorkers.sh that root does: raises the worker limits in nginx.conf to those of a file of root's.
#
# It lives in /opt/self-heal/root, which is root's, and not among the handlers, which may be the healer's: whoever can
# change what sudo runs is root. It takes nothing from its caller, no argument, no variable, no input; the one line of
# sudoers.d/healer that runs it names no more than it and timeout(1). -p: no function or start file of the caller's.
#
# It changes the number of a `worker_connections N;` and of a `worker_rlimit_nofile N;` that stand on lines of their
# own, adds the latter where there is none, and lowers neither. Anything else it refuses. nginx -t has accepted the file
# before, so that each of these can only stand in the one block where nginx allows it.
#
# Exit: 0 written, the last line says what holds now; 2 refused, and why; 3 nothing to raise; else failed, old file kept.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
umask 077

readonly limits=/etc/self-heal/nginx-workers.conf
readonly folder=/etc/nginx
readonly file=$folder/nginx.conf
# Left by a run that was killed, it is overwritten by the next. Hidden: no `include *` of nginx reads it.
readonly new=$folder/.nginx.conf.self-heal

refuse() { printf 'refused: %s\n' "$*"; exit 2; }

# Root's, for nobody else to write, no link, no second name that a new file would be cut off from.
roots_own() { [[ -n $(find "$1" -maxdepth 0 -uid 0 ! -perm /022 \( -type d -o -type f -links 1 \) 2>/dev/null) ]]; }

(($# == 0)) || refuse 'it takes no argument'
for path in "$limits" "$folder" "$file"; do
  roots_own "$path" || refuse "$path has to be there, root's, and writable by nobody else, without a second name"
done

# --- How far: two lines, NAME NUMBER.
declare -A want=()
number=0
while read -r name value rest || [[ -n $name ]]; do
  number=$((number + 1))
  case $name in
    '' | '#'*) continue ;;
    worker_connections | worker_rlimit_nofile) ;;
    *) refuse "$limits:$number: there are worker_connections and worker_rlimit_nofile" ;;
  esac
  [[ $value =~ ^[1-9][0-9]{0,6}$ && -z $rest ]] || refuse "$limits:$number: one number from 1 to 9999999"
  [[ -z ${want[$name]:-} ]] || refuse "$limits:$number: $name for the second time"
  want[$name]=$value
done <"$limits"
[[ -n ${want[worker_connections]:-} && -n ${want[worker_rlimit_nofile]:-} ]] ||
  refuse "$limits: it takes both worker_connections and worker_rlimit_nofile"
# Each connection is an open file, and setrlimit(2) fails above nr_open: nginx would say so and go on without.
((want[worker_connections] <= want[worker_rlimit_nofile])) ||
  refuse "$limits: fewer open files than connections"
((want[worker_rlimit_nofile] <= $(</proc/sys/fs/nr_open))) ||
  refuse "$limits: worker_rlimit_nofile is above /proc/sys/fs/nr_open"

# --- What is there.
mapfile -t lines <"$file"
# Bash drops NUL bytes, and a last line without its newline would get one.
printf '%s\n' "${lines[@]}" | cmp -s - "$file" || refuse "$file is no text of whole lines"
setting='^([[:space:]]*(worker_connections|worker_rlimit_nofile)[[:space:]]+)([0-9]{1,9})([[:space:]]*;[[:space:]]*(#.*)?)$'
declare -A have=()
events=
changed=no
for at in "${!lines[@]}"; do
  line=${lines[at]}
  if [[ $line =~ ^[[:space:]]*events[[:space:]]*\{ ]]; then
    [[ -z $events ]] || refuse "$file:$((at + 1)): a second events block"
    events=$at
  fi
  if [[ $line =~ ^[[:space:]]*# || $line != *worker_@(connections|rlimit_nofile)* ]]; then continue; fi
  [[ $line =~ $setting ]] || refuse "$file:$((at + 1)): not one setting with a number, alone on its line"
  name=${BASH_REMATCH[2]}
  [[ -z ${have[$name]:-} ]] || refuse "$file:$((at + 1)): $name for the second time"
  # 10#: a number with a leading zero is no octal one for nginx.
  have[$name]=$((10#${BASH_REMATCH[3]}))
  if ((have[$name] < want[$name])); then
    lines[at]=${BASH_REMATCH[1]}${want[$name]}${BASH_REMATCH[4]}
    have[$name]=${want[$name]}
    changed=yes
  fi
done
[[ -n $events ]] || refuse "$file: no line that begins with: events {"
[[ -n ${have[worker_connections]:-} ]] || refuse "$file: no line: worker_connections NUMBER;"
if [[ -z ${have[worker_rlimit_nofile]:-} ]]; then
  # Before a block of the outermost level: outermost itself, and no statement is under way there.
  lines[events]="worker_rlimit_nofile ${want[worker_rlimit_nofile]};"$'\n'${lines[events]}
  have[worker_rlimit_nofile]=${want[worker_rlimit_nofile]}
  changed=yes
fi

holds="worker_connections ${have[worker_connections]} worker_rlimit_nofile ${have[worker_rlimit_nofile]}"
if [[ $changed == no ]]; then
  printf '%s\n' "$holds"
  exit 3
fi

# --- Whole, old or new, at every moment; mode, owner, ACL and attributes stay.
trap 'rm -f -- "$new"' EXIT
cp --preserve=all --remove-destination -- "$file" "$new"
printf '%s\n' "${lines[@]}" >"$new"
sync -- "$new"
mv --no-target-directory -- "$new" "$file"
sync -- "$folder"
printf '%s\n' "$holds"
