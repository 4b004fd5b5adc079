#!/bin/bash
# A real systemd for the tests: a small Debian tree, booted by systemd-nspawn with its own loopback, its own
# processes and nothing on disk. For root on Debian; every lack is said in words.
#
#   container.sh tree CACHE           makes the tree below CACHE if it is not there, and prints where it is
#   container.sh boot NAME FILES TREE WORK
#                                     boots TREE with FILES laid over it, and ends when it ends
#   container.sh clean NAME           removes what a killed one leaves in the cgroup tree
set -euo pipefail

packages=systemd,systemd-sysv,dbus,socat,sudo,nginx-light,cron,curl

say_why() {
  printf 'container: %s\n' "$*" >&2
  exit 1
}

able() {
  ((EUID == 0)) || say_why 'a container needs root: run the tests as root'
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null ||
      say_why "$tool is missing: apt-get install debootstrap systemd-container util-linux"
  done
}

# The mirror that apt uses for this release.
mirror() { # mirror CODENAME
  # shellcheck disable=SC2016 # apt-get expands it
  apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' 'Component: main' |
    awk -v release="$1" '$1 == release { print $2; exit }'
}

tree() { # tree CACHE
  able debootstrap flock
  local cache=$1 codename site dir
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
  dir=$cache/container-$codename-$(cksum <<<"$packages" | cut -d' ' -f1)
  mkdir -p "$cache"
  exec {lock}>"$cache/container.lock"
  flock "$lock"
  if [[ ! -d $dir ]]; then
    site=$(mirror "$codename")
    [[ -n $site ]] || say_why "apt has no source for $codename: apt-get update, or see /etc/apt"
    rm -rf "$dir.part"
    debootstrap --variant=minbase --include="$packages" "$codename" "$dir.part" "$site" >"$dir.log" 2>&1 ||
      say_why "debootstrap failed: $(tail -n 3 "$dir.log" | tr '\n' ' ')(all of it: $dir.log)"
    rm -rf "$dir.part/var/cache/apt/archives"
    mv "$dir.part" "$dir"
  fi
  printf '%s\n' "$dir"
}

boot() { # boot NAME FILES TREE WORK
  able systemd-nspawn unshare
  unshare --mount --pid --fork true 2>/dev/null ||
    say_why 'this machine cannot boot a container: no namespaces for root here (itself a container without CAP_SYS_ADMIN?)'
  # Ends with this process, whatever ends it: the first process of a process namespace takes all others along.
  exec unshare --mount --propagation private --pid --fork --kill-child=KILL --mount-proc -- "$0" inner "$@"
}

inner() {
  local name=$1 files=$2 tree=$3 work=$4
  # A cgroup tree of its own, of version 2 on every host; below the root, so that two containers share nothing.
  mount -t cgroup2 cgroup2 /sys/fs/cgroup ||
    say_why 'this machine cannot boot a container: no cgroup tree of version 2 can be mounted'
  mkdir "/sys/fs/cgroup/$name" ||
    say_why 'this machine cannot boot a container: its cgroup tree is read-only'
  echo $$ >"/sys/fs/cgroup/$name/cgroup.procs"
  mkdir -p "$work"
  mount -t tmpfs -o mode=755 tmpfs "$work"
  mkdir "$work/upper" "$work/work" "$work/root"
  mount -t overlay -o "lowerdir=$files:$tree,upperdir=$work/upper,workdir=$work/work" overlay "$work/root" ||
    say_why 'this machine cannot boot a container: no overlay can be mounted'
  # Without --register=no and --keep-unit it would ask the host's systemd, which need not run.
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
  exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network --console=pipe \
    --machine="$name" --directory="$work/root" </dev/null
}

clean() { # clean NAME
  # shellcheck disable=SC2016 # the inner shell expands it
  exec unshare --mount --propagation private bash -c '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    for ((tries = 0; tries < 100; tries++)); do
      [[ -d /sys/fs/cgroup/$1 ]] || exit 0
      find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
    done
    exit 1' clean "$1"
}

case ${1:-} in
  tree | boot | inner | clean) "$@" ;;
  *) say_why 'usage: container.sh tree CACHE | boot NAME FILES TREE WORK | clean NAME' ;;
esac
