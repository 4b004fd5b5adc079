"""What the bench builds, finds and misses: C sources by cc and musl-gcc, rivals from the system's packages."""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

# What is run, and the Debian package that brings it. Nothing is installed from here.
PACKAGES = {
    "cc": "gcc", "musl-gcc": "musl-tools", "socat": "socat", "systemd-socket-activate": "systemd",
    "inetd": "openbsd-inetd", "webhook": "webhook", "jq": "jq", "bash": "bash", "strace": "strace",
    "valgrind": "valgrind",
}


def find(name):
    """Where a program is; daemons lie where an ordinary PATH does not look."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing(names):
    return [f"{name} ({PACKAGES[name]})" for name in names if not find(name)]


def need(*names):
    absent = missing(names)
    if absent:
        sys.exit("missing: " + ", ".join(absent))


def build(folder, ran, sources):
    """Static programs from the sources of this folder, each by glibc and, if there is a musl-gcc, by musl
    (`NAME-musl`); the handler by the smaller of both. It notes its runs in the file `ran`."""
    need("cc")
    os.makedirs(folder, exist_ok=True)
    built = {}
    musl = find("musl-gcc")
    for name in [*sources, "handler"]:
        for suffix, compiler in (("", "cc"), ("-musl", musl)):
            if not compiler:
                continue
            flags = [f'-DRAN="{ran}"'] if name == "handler" else []
            target = f"{folder}/{name}{suffix}"
            command = [compiler, "-O2", "-static", "-s", *flags, f"{HERE}/{name}.c", "-o", target]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{' '.join(command)}: {done.stderr}")
            built[name + suffix] = target
    built["handler"] = built.get("handler-musl", built["handler"])
    return built


GIVEN = []  # (name, path) of executables that were named, instead of those in target/


def ours():
    """(name, path) of the executables there are: the release of deploy/build-release.sh, and cargo's default one."""
    if GIVEN:
        return [(name, os.path.abspath(path)) for name, path in GIVEN]
    target = os.environ.get("CARGO_TARGET_DIR", f"{TOP}/target")
    known = [("release", f"{target}/release-static/self-heal"), ("cargo", f"{target}/release/self-heal")]
    found = [(name, path) for name, path in known if os.access(path, os.X_OK)]
    if not found:
        sys.exit("no executable: deploy/build-release.sh, or cargo build --release")
    return found


def prices(costs, folder, handler):
    """What the kernel's calls cost in this folder, by name."""
    said = subprocess.run([costs, folder, handler], check=True, capture_output=True, text=True).stdout
    known = {name: float(cost) for name, cost in (line.split("\t") for line in said.splitlines())}
    # A new file, and the folder that names it: the two syncs are nearly all that making it costs where syncs cost at all.
    known["fsync"] = max(known["fdatasync"], known["create"] / 2 - 10)
    return known


def file_system(path):
    """The kind of file system that a folder lies on: proc(5), /proc/mounts."""
    with open("/proc/mounts") as file:
        mounts = [line.split()[1:3] for line in file]
    here = os.path.realpath(path) + "/"
    return max((len(place), kind) for place, kind in mounts if here.startswith(place.rstrip("/") + "/"))[1]
