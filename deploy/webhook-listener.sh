#!/bin/bash
# Listens on 127.0.0.1 and starts one self-heal for each connection. Installed as
# /opt/self-heal/webhook-listener.sh; runs until it is killed, as the account that runs the handlers.
#
#   HEAL_PORT      the port; without it, HEAL_PORT of the configuration file; without that, 9095
#   HEAL_CONF      the configuration file, /etc/self-heal/self-heal.conf
#   SELF_HEAL_BIN  the executable, /usr/local/bin/self-heal
set -euo pipefail

# Set but empty is the same as unset, for self-heal too.
[[ -n ${HEAL_CONF:-} ]] || unset HEAL_CONF
conf=${HEAL_CONF:-/etc/self-heal/self-heal.conf}
bin=${SELF_HEAL_BIN:-/usr/local/bin/self-heal}
port=${HEAL_PORT:-}
asked_by='the environment variable HEAL_PORT'

# Wrong configuration is exit status 100, as from self-heal itself.
refuse() {
  printf 'webhook-listener: %s\n' "$*" >&2
  exit 100
}

# One key is read, by its shape; the file is never run as shell.
port_from_file() {
  local line number=0
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    if [[ $line =~ ^[[:space:]]*HEAL_PORT[[:space:]]*= ]]; then
      asked_by="$conf:$number"
      [[ $line =~ ^[[:space:]]*HEAL_PORT=([0-9]+|\"[0-9]+\"|\'[0-9]+\')[[:space:]]*$ ]] ||
        refuse "$asked_by: HEAL_PORT must be a plain number, as in HEAL_PORT=9095"
      port=${BASH_REMATCH[1]//[\"\']/}
    fi
  done <"$conf"
}

if [[ -z $port ]]; then
  # Set but empty is the same as unset; the listener's children would call it malformed.
  unset HEAL_PORT
  if [[ -e $conf ]]; then
    [[ -r $conf ]] || refuse "$conf: not readable by $(id -un): chmod or chown it"
    port_from_file
  fi
fi
port=${port:-9095}

if ! [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || ((port > 65535)); then
  refuse "$asked_by: '$port' is no port: 1 to 65535"
fi

# EXEC: splits its text at blanks, commas, colons and quotes (socat(1), ADDRESS SPECIFICATIONS).
[[ $bin =~ ^/[A-Za-z0-9_./+@%-]+$ ]] ||
  refuse "SELF_HEAL_BIN: '$bin' must be an absolute path without blanks, commas, colons or quotes"
[[ -f $bin && -x $bin ]] || refuse "$bin: not there or not executable: install it, or name it in SELF_HEAL_BIN"
command -v socat >/dev/null || refuse 'socat is missing: apt-get install socat'

umask 077

# bind          nobody but this machine: what reaches this port can have services restarted
# backlog       socat's own default of 5 drops the connections of a burst, and their senders wait and ask twice
# max-children  a bound for the worst day; further connections wait in the backlog
# nofork        self-heal holds the connection itself, so it can answer, hang up, and go on working
exec socat \
  "TCP4-LISTEN:$port,bind=127.0.0.1,reuseaddr,fork,backlog=4096,max-children=256" \
  "EXEC:$bin serve,nofork" </dev/null
