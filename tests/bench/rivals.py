"""The servers that are compared, and what starts them: each listens on a loopback port of its own and is ended, with
everything it started, when the bench is over.

A rival is a spawner with what it spawns, or a resident server. All of them run the same handler, which notes that it
ran; whether all alerts were healed, and none twice, is read from those notes.
"""

import json
import os
import pwd
import resource
import signal
import socket
import subprocess
import time

import calls
import house
import programs

READY = 20  # seconds that a server may take to listen

# The floor and the residents run any number of handlers at once.
UNLIMITED = {"HEAL_MAX_CONCURRENT": "256", "HEAL_LOCK_WAIT": "60s"}


class Rival:
    """name: in the table. group: what it is compared within. command(place): what is started. slow: asked less often.
    ours: the executable, if it is self-heal. settings: of its configuration. disk: its state lies on the disk."""

    def __init__(self, name, group, needs, command, path="/", slow=False, ours=None, settings=None, disk=False):
        self.name, self.group, self.needs, self.command = name, group, needs, command
        self.path, self.slow, self.ours, self.settings, self.disk = path, slow, ours, settings, disk

    def absent(self):
        return programs.missing(self.needs)


class Place:
    """Where a rival lives while it is measured."""

    def __init__(self, top, handler, names, state, settings=None):
        self.top = top
        os.makedirs(top)
        self.house = house.House(f"{top}/house", handler, names, state, settings)
        self.handler = f"{self.house.top}/handlers/Bench0000"
        self.port = free_port()
        os.makedirs(f"{top}/bash")
        house.write(f"{top}/bash/allowed.txt", "edge-[0-9]*\\.lan:8404\n")

    def calls(self, program):
        """The floor with the calls on files that this program makes here."""
        folder = f"{self.top}/calls"
        return f"{folder}/calls" if os.path.isdir(folder) else calls.build(folder, self.house, program)


class Running:
    """A rival that listens. Its own use of the processor, and that of everything it started and waited for, is known
    once it has ended."""

    def __init__(self, rival, place):
        self.rival, self.place = rival, place
        log = open(f"{place.top}/server.log", "ab")
        self.process = subprocess.Popen(
            rival.command(place), env=place.house.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd="/")
        until = time.monotonic() + READY
        while not listening(place.port):
            if self.process.poll() is not None or time.monotonic() > until:
                self.end()
                with open(f"{place.top}/server.log", errors="replace") as file:
                    raise SystemExit(f"{rival.name} does not listen: {file.read()[-600:]}")
            time.sleep(0.01)

    def end(self):
        """Ends it; returns (CPU microseconds, minor faults) of the whole tree, or None if that is not known."""
        if self.process.returncode is not None:
            return None
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(self.process.pid, sign)
            except ProcessLookupError:
                break
            until = time.monotonic() + 3
            while time.monotonic() < until:
                pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
                if pid:
                    self.process.returncode = status
                    self.sweep()
                    return (used.ru_utime + used.ru_stime) * 1e6, used.ru_minflt
                time.sleep(0.005)
        return None

    def sweep(self):
        """Whatever it started and left; all of it is in its session."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    """Without connecting: a connection would be served."""
    want = f"0100007F:{port:04X}"
    with open("/proc/net/tcp") as file:
        return any(line.split()[1] == want and line.split()[3] == "0A" for line in file)


# --- spawners -------------------------------------------------------------------------------------------------------

def socat(words):
    def command(place):
        exec_line = " ".join(words(place))
        return [programs.find("socat"), f"TCP4-LISTEN:{place.port},bind=127.0.0.1,reuseaddr,fork,backlog=4096",
                f"EXEC:{exec_line},nofork"]
    return command


def socket_activate(words):
    def command(place):
        return [programs.find("systemd-socket-activate"), f"--listen=127.0.0.1:{place.port}", "--accept", "--inetd",
                "-E", "HEAL_CONF", *words(place)]
    return command


def inetd(words):
    def command(place):
        program, *rest = words(place)
        user = pwd.getpwuid(os.geteuid()).pw_name
        conf = f"{place.top}/inetd.conf"
        house.write(conf, f"127.0.0.1:{place.port}\tstream\ttcp\tnowait\t{user}\t{program}\t"
                    + " ".join([os.path.basename(program), *rest]) + "\n")
        return [programs.find("inetd"), "-i", "-E", "-q", "4096", "-R", "1000000", conf]
    return command


SPAWNERS = {
    "socat": (socat, ["socat"]),
    "socket-activate": (socket_activate, ["systemd-socket-activate"]),
    "inetd": (inetd, ["inetd"]),
}


# --- residents ------------------------------------------------------------------------------------------------------

def webhook(place):
    hooks = [{
        "id": "heal", "execute-command": place.handler, "include-command-output-in-response": True,
        "pass-arguments-to-command": [
            {"source": "payload", "name": f"alerts.0.{name}"}
            for name in ("labels.instance", "labels.alertname", "fingerprint")],
    }]
    house.write(f"{place.top}/hooks.json", json.dumps(hooks))
    return [programs.find("webhook"), "-hooks", f"{place.top}/hooks.json", "-ip", "127.0.0.1", "-port", str(place.port),
            "-http-methods", "POST"]


def python(place):
    return ["python3", f"{programs.HERE}/listener.py", str(place.port), place.handler]


def bash(mode):
    return lambda place: [programs.find("bash"), f"{programs.HERE}/listener.bash", mode, f"{place.top}/bash",
                          place.handler]


def all_of(built):
    """Every rival, floors first. A group holds what one spawner starts."""
    rivals = []
    for spawner, (under, needs) in SPAWNERS.items():
        for libc, suffix in (("glibc", ""), ("musl", "-musl")):
            if f"floor{suffix}" in built:
                floor = built[f"floor{suffix}"]
                rivals.append(Rival(f"floor, {libc}", spawner, needs, under(lambda p, f=floor: [f, p.handler])))
        if release := dict(programs.ours()).get("release"):
            command = under(lambda p, f=release: [p.calls(f), p.handler])
            wanted = [*needs, *calls.NEEDS]
            rivals.append(Rival(calls.NAME, spawner, wanted, command, ours=release, settings=UNLIMITED))
            if spawner == "socat":
                rivals.append(Rival(f"{calls.NAME}, state on disk", spawner, wanted, command, ours=release,
                                    settings=UNLIMITED, disk=True))
        for name, path in programs.ours():
            command = under(lambda p, f=path: [f, "serve"])
            rivals.append(Rival(f"self-heal, {name}", spawner, needs, command, ours=path, settings=UNLIMITED))
            if spawner == "socat":
                rivals.append(Rival(f"self-heal, {name}, state on disk", spawner, needs, command, ours=path,
                                    settings=UNLIMITED, disk=True))
                rivals.append(Rival(f"self-heal, {name}, 4 slots", spawner, needs, command, ours=path))
    rivals.append(Rival("webhook", "resident", ["webhook"], webhook, path="/hooks/heal"))
    rivals.append(Rival("python", "resident", [], python))
    for mode in ("one", "many"):
        rivals.append(Rival(f"bash, {mode} jq", "bash", ["socat", "jq", "bash"], socat(bash(mode)), slow=True))
    return rivals



def open_files(most):
    """Room for a storm's connections, here and in what is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, most), hard), hard))
