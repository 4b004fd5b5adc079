"""The folder that a benched program lives in, the alerts it is sent, and records as a busy host has them.

It knows how self-heal lays its state out (docs/operations.md, src/sys/state), and nothing of measuring.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time

SLOT = 8192  # a record's room for one copy: src/wire/records.rs
GENESIS = "0" * 64

# What a template's markers stand for: the client writes the number of the alert over them, digit for digit.
NUMBER, NAME = "########", "~~~~"

ALERT = {
    "status": "firing",
    "labels": {
        "alertname": f"Bench{NAME}", "heal": "true", "instance": f"edge-{NUMBER}.lan:8404", "job": "proxy",
        "severity": "critical",
    },
    "annotations": {
        "runbook": "step 1: look\nstep 2: \"restart\"\tok \\ é ☃",
        "summary": f"edge-{NUMBER} does not answer",
    },
    "startsAt": "STARTS",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prom-a.lan:9090/graph?g0.expr=probe_ok+%3D%3D+0&g0.tab=1",
    "fingerprint": f"bb7a11b1{NUMBER}",
}


def template(path="/", size=1122):
    """One POST as Alertmanager sends it, one alert, `size` bytes head and body together."""
    alert = dict(ALERT, startsAt=time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - 120)))
    group = {name: alert["labels"][name] for name in ("alertname", "instance")}
    body = {
        "receiver": "self-heal", "status": "firing", "alerts": [alert], "groupLabels": group,
        "commonLabels": alert["labels"], "commonAnnotations": alert["annotations"],
        "externalURL": "http://am-1.lan:9093", "version": "4",
        "groupKey": '{}/{heal="true"}:{alertname="%s", instance="%s"}' % tuple(group.values()), "truncatedAlerts": 0,
    }
    def request():
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        head = (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:9095\r\nUser-Agent: Alertmanager/0.28.1\r\n"
                f"Content-Length: {len(text)}\r\nContent-Type: application/json\r\n\r\n")
        return head.encode() + text
    short = size - len(request())
    if short > 0:
        body["externalURL"] += "/" + "x" * (short - 1)
    return request()


def filled(text, number, names):
    """The template for alert `number`, as client.c fills it."""
    return text.replace(NUMBER.encode(), b"%08d" % number).replace(NAME.encode(), b"%04d" % (number % names))


class House:
    """A folder with configuration, allow-list, handlers and empty state. `state` may lie elsewhere."""

    def __init__(self, top, handler, names=1, state=None, settings=None, entries=0):
        self.top, self.names = top, names
        self.conf, self.state = f"{top}/self-heal.conf", state or f"{top}/state"
        for name in ("", "handlers", "log", "lock", "backup", "escalate.d"):
            os.makedirs(f"{top}/{name}", 0o755, exist_ok=True)
        os.makedirs(self.state, 0o700, exist_ok=True)
        keys = {
            "HEAL_HANDLER_DIR": f"{top}/handlers", "HEAL_ALLOWED_INSTANCES": f"{top}/allowed.txt",
            "HEAL_LOG_DIR": f"{top}/log", "HEAL_LOCK_DIR": f"{top}/lock", "HEAL_STATE_DIR": self.state,
            "HEAL_BACKUP_DIR": f"{top}/backup", "HEAL_ESCALATE_DIR": f"{top}/escalate.d", "HEAL_SYSLOG": "off",
            # The most it takes: a bench has more runs in a second than a host in a day.
            "HEAL_STORM_LIMIT": "400/1s",
        }
        if os.geteuid() == 0:
            keys["HEAL_ALLOW_ROOT"] = "yes"
        keys.update(settings or {})
        write(self.conf, "".join(f"{key}={value}\n" for key, value in keys.items()))
        others = "".join(f"db-{n:06d}.lan:5432\n" for n in range(entries))
        write(f"{top}/allowed.txt", others + "edge-*.lan\n")
        first = f"{top}/handlers/Bench0000"
        shutil.copy(handler, first)
        for number in range(1, names):
            os.link(first, f"{top}/handlers/Bench{number:04d}")

    def environment(self):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HEAL_CONF": self.conf}

    def warm(self, program, number=99_999_999):
        """One alert, healed: folders, reserve and spool are made by it. Returns the answer."""
        said = ask([program, "serve"], self.environment(), filled(template(), number, self.names))
        if b'"verdict":"healed"' not in said:
            raise SystemExit(f"{program} does not heal: {said!r}")
        return said


def ask(command, environment, request):
    """One connection over loopback, served by this command."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as client:
            server, _ = listener.accept()
            client.sendall(request)
            with server:
                child = subprocess.Popen(command, stdin=server, stdout=server, stderr=subprocess.DEVNULL,
                                         env=environment)
            client.settimeout(60)
            said = b""
            try:
                while more := client.recv(65536):
                    said += more
            except ConnectionError:
                pass  # it ended without reading: what it said until then is the answer
    child.wait()
    return said


def model(state):
    """The one record of this state as JSON; its file is removed."""
    (name,) = os.listdir(f"{state}/records")
    path = f"{state}/records/{name}"
    with open(path, "rb") as file:
        copies = [file.read(SLOT) for _ in range(2)]
    os.unlink(path)
    newest = max((c for c in copies if c[:1] == b"s"), key=lambda copy: int(copy.split(b"\n")[1].split()[1]))
    return json.loads(newest.split(b"\n")[1].decode().split(" ", 2)[2])


def records(state, model, count, instance, rename, sparse=False):
    """`count` records like the model, each for an instance of its own: `instance` in it becomes `rename(n)`. Sparse ones
    take less room, which matters in memory."""
    text = json.dumps(model, separators=(",", ":"))
    for n in range(count):
        key = hashlib.sha256(str(n).encode()).hexdigest()
        line = f"{key} 1 {text.replace(instance, rename(n))}\n".encode()
        head = f"self-heal-1 {len(line)} {hashlib.sha256(line).hexdigest()}\n".encode()
        with open(f"{state}/records/{key}", "wb") as file:
            file.write(head + line if sparse else (head + line).ljust(2 * SLOT, b"\0"))
            file.truncate(2 * SLOT)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
