#!/bin/bash
# As webhook-listener.sh, with TLS and for other machines: only a client with a certificate of our own authority gets as
# far as self-heal. Installed as /opt/self-heal/tls-listener.sh; runs until it is killed, as the account that runs the
# handlers. IPv4. nginx.conf beside this is the other way, and the better one where strangers reach the port: it ends
# what does not hurry, and keeps the key from the handlers.
#
#   SELF_HEAL_TLS_BIND  the address to listen on; there is no default, and 0.0.0.0 is all of them
#   SELF_HEAL_TLS_PORT  the port, 9443
#   SELF_HEAL_TLS_DIR   /etc/self-heal/tls, with
#                         server.pem   our certificate, and those between it and its authority
#                         server.key   its key: root:healer 0640
#                         clients.pem  the authority whose certificates are let in: one that signs for the senders of
#                                      alerts and for nobody else, since any certificate of it will do
#   SELF_HEAL_BIN       the executable, /usr/local/bin/self-heal
#
# In self-heal.conf: HEAL_ALLOW_PEERS, the senders' addresses; without it, no machine but this one is answered.
# HEAL_ALLOW_USERS cannot be used with this: self-heal does not hold the connection, socat does.
set -euo pipefail

bind=${SELF_HEAL_TLS_BIND:-}
port=${SELF_HEAL_TLS_PORT:-9443}
dir=${SELF_HEAL_TLS_DIR:-/etc/self-heal/tls}
bin=${SELF_HEAL_BIN:-/usr/local/bin/self-heal}

# Wrong configuration is exit status 100, as from self-heal itself.
refuse() {
  printf 'tls-listener: %s\n' "$*" >&2
  exit 100
}

[[ -n $bind ]] || refuse 'SELF_HEAL_TLS_BIND is not set: the IPv4 address to listen on'
[[ $bind =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || refuse "SELF_HEAL_TLS_BIND: '$bind' is no IPv4 address"
if ! [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || ((port > 65535)); then
  refuse "SELF_HEAL_TLS_PORT: '$port' is no port: 1 to 65535"
fi
# socat splits its addresses at blanks, commas, colons and quotes (socat(1), ADDRESS SPECIFICATIONS).
for path in "SELF_HEAL_TLS_DIR:$dir" "SELF_HEAL_BIN:$bin"; do
  [[ ${path#*:} =~ ^/[A-Za-z0-9_./+@%-]+$ ]] ||
    refuse "${path%%:*}: '${path#*:}' must be an absolute path without blanks, commas, colons or quotes"
done
for file in server.pem server.key clients.pem; do
  [[ -f $dir/$file && -r $dir/$file ]] || refuse "$dir/$file: not there, or not readable by $(id -un)"
done
[[ -z $(find -L "$dir/server.key" -perm /o+rwx) ]] || refuse "$dir/server.key: others may use it: chmod o-rwx"
[[ -f $bin && -x $bin ]] || refuse "$bin: not there or not executable: install it, or name it in SELF_HEAL_BIN"
command -v socat >/dev/null || refuse 'socat is missing: apt-get install socat'

umask 077

# verify=1      no certificate, another authority's, or one that has expired: the handshake fails, nothing is started
# setsockopt    SO_RCVTIMEO, 10 s (a struct timeval, little-endian): who connects and says nothing is let go of; without
#               it max-children of those would be the end of healing. Only what is read is meant: a handler may take long
# backlog, max-children   as in webhook-listener.sh; a connection is two processes here
# no nofork     socat has to stay in between; self-heal talks to it over a socket pair, and takes the other side's
#               address from SOCAT_PEERADDR
# -t 300        one side has ended, the other may go on for so long: as long as a handler
exec socat -t 300 \
  "OPENSSL-LISTEN:$port,pf=ip4,bind=$bind,reuseaddr,fork,backlog=4096,max-children=256,setsockopt=1:20:x0a000000000000000000000000000000,openssl-min-proto-version=TLS1.2,cert=$dir/server.pem,key=$dir/server.key,cafile=$dir/clients.pem,verify=1" \
  "EXEC:$bin serve" </dev/null
