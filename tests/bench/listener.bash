#!/bin/bash
# A listener in Bash that really works, for comparison only: one connection on fds 0 and 1, under socat's nofork.
#
#   listener.bash many|one FOLDER HANDLER
#
# Head and body are read as RFC 9112 frames them (Content-Length), an alert is healed under flock(1), its attempts are
# counted in a file, what happened is logged to a file. `many` takes each field with a jq of its own and each digest,
# date and log line through programs, the way such scripts are published; `one` asks jq once and leaves the rest to
# Bash's builtins.
set -uo pipefail
LC_ALL=C
mode=$1 house=$2 handler=$3

answer() {
  printf 'HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1"
  exit
}

note() {
  if [[ $mode == many ]]; then
    printf '%s [%s] %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" | tee -a "$house/listener.log" >/dev/null
  else
    printf '%(%Y-%m-%dT%H:%M:%SZ)T [%s] %s\n' -1 "$1" "$2" >>"$house/listener.log"
  fi
}

length=''
IFS= read -r request || exit 0
while IFS= read -r field && field=${field%$'\r'} && [[ -n $field ]]; do
  [[ ${field,,} == content-length:* ]] && length=${field#*:} && length=${length//[[:space:]]/}
done
[[ $request == POST\ * ]] || answer '405 Method Not Allowed'
[[ $length =~ ^[0-9]{1,7}$ ]] || answer '411 Length Required'
IFS= read -r -d '' -N "$length" body || answer '400 Bad Request'

fields='.status // "", .labels.alertname // "", .labels.instance // "", .fingerprint // ""'
if [[ $mode == many ]]; then
  jq -e '.alerts | type == "array"' <<<"$body" >/dev/null 2>&1 || answer '400 Bad Request'
  count=$(jq '.alerts | length' <<<"$body")
  values=()
  for number in $(seq 0 $((count - 1))); do
    values+=("$(jq -r ".alerts[$number].status" <<<"$body")" "$(jq -r ".alerts[$number].labels.alertname" <<<"$body")"
      "$(jq -r ".alerts[$number].labels.instance" <<<"$body")" "$(jq -r ".alerts[$number].fingerprint" <<<"$body")")
  done
else
  mapfile -t values < <(jq -r ".alerts[] | $fields" <<<"$body" 2>/dev/null)
fi
((${#values[@]} > 0 && ${#values[@]} % 4 == 0)) || answer '400 Bad Request'

code='200 OK'
for ((at = 0; at < ${#values[@]}; at += 4)); do
  status=${values[at]} name=${values[at + 1]} instance=${values[at + 2]} fingerprint=${values[at + 3]}
  [[ $status == firing && $name =~ ^[A-Za-z0-9_]+$ && $fingerprint =~ ^[0-9a-f]+$ ]] || continue
  if [[ $mode == many ]]; then
    printf '%s\n' "$instance" | grep -qxf "$house/allowed.txt" || continue
    key=$(printf '%s' "$fingerprint" | sha256sum | cut -c1-16)
    attempts=$(cat "$house/attempts-$key" 2>/dev/null || echo 0)
  else
    [[ $instance =~ ^edge-[0-9]+\.lan:8404$ ]] || continue
    key=$fingerprint attempts=0
    [[ -r $house/attempts-$key ]] && attempts=$(<"$house/attempts-$key")
  fi
  ((attempts < 3)) || continue
  echo $((attempts + 1)) >"$house/attempts-$key"
  note INFO "run $name for $instance, attempt $((attempts + 1))"
  if flock -n "$house/heal-$name-$fingerprint.lock" "$handler" "$instance" "$name" "$fingerprint" >>"$house/handler.log" 2>&1; then
    if [[ $mode == many ]]; then rm -f "$house/attempts-$key"; else : >"$house/attempts-$key"; fi
    note INFO "healed $name for $instance"
  else
    code='503 Service Unavailable'
    note ERROR "failed $name for $instance"
  fi
done
answer "$code"
