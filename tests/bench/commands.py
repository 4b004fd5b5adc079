#!/usr/bin/env python3
"""How long the operator's commands take on a busy host: 10,000 records, 100,000 lines of history.

    tests/bench/commands.py [PROGRAM]      target/release/self-heal unless told otherwise

Prints one line a command: the median and the worst of RUNS runs, and the largest peak of memory, beside `cat` of the
same bytes as what reading alone costs. Nothing here is a test: it fails only when a command does.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import house as layout  # noqa: E402

RECORDS, LINES, RUNS = 10_000, 100_000, 11


def main():
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else f"{top}/target/release/self-heal")
    house = tempfile.mkdtemp(prefix="self-heal-bench-", dir=os.environ.get("TMPDIR"))
    try:
        bench(program, house)
    finally:
        shutil.rmtree(house)


def bench(program, house):
    env = furnish(house)
    model = seed(program, house, env)
    layout.records(f"{house}/state", model, RECORDS, "web-0", lambda n: f"web-{n}:9100")
    history(f"{house}/state")
    size = sum(e.stat().st_size for e in os.scandir(f"{house}/state/records"))
    print(f"{RECORDS} records ({size >> 20} MiB), {LINES} lines of history "
          f"({os.path.getsize(f'{house}/state/history.jsonl') >> 20} MiB); {RUNS} runs each")
    print(f"{'':34}{'median ms':>10}{'worst ms':>10}{'peak MiB':>10}")
    cat = ["sh", "-c", f"cat {house}/state/records/* {house}/state/history.jsonl >/dev/null"]
    row("cat of the same files", cat, env)
    for words in COMMANDS:
        row(" ".join(words), [program, *words], env)


COMMANDS = [
    ["status"], ["status", "--json"], ["metrics"],
    ["history"], ["history", "--summary"], ["history", "--alert", "Failing", "--since", "1h"], ["history", "--json"],
    ["history", "--verify"],
]


def row(name, command, env):
    times, peak = [], 0
    for _ in range(RUNS):
        began = time.perf_counter()
        child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        shown = b""
        # Nothing is kept: a child's peak begins with what its parent holds when it is made.
        while chunk := child.stdout.read(1 << 16):
            shown = chunk
        _, status, usage = os.wait4(child.pid, 0)
        times.append((time.perf_counter() - began) * 1000)
        peak = max(peak, usage.ru_maxrss)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{name}: exit {child.returncode}: {shown[-300:]!r}")
    print(f"{name:34}{statistics.median(times):10.1f}{max(times):10.1f}{peak / 1024:10.1f}")


def furnish(house):
    for name in ("handlers", "log", "lock", "state", "backup", "escalate.d"):
        os.mkdir(f"{house}/{name}", 0o755)
    keys = {
        "HEAL_HANDLER_DIR": "handlers", "HEAL_ALLOWED_INSTANCES": "allowed.txt", "HEAL_LOG_DIR": "log",
        "HEAL_LOCK_DIR": "lock", "HEAL_STATE_DIR": "state", "HEAL_BACKUP_DIR": "backup",
        "HEAL_ESCALATE_DIR": "escalate.d",
    }
    write(f"{house}/self-heal.conf", "".join(f"{k}={house}/{v}\n" for k, v in keys.items())
          + "HEAL_ALLOW_ROOT=yes\nHEAL_SYSLOG=off\n")
    write(f"{house}/allowed.txt", "web-*\n")
    write(f"{house}/handlers/Failing.sh", "#!/bin/sh\nexit 1\n")
    os.chmod(f"{house}/handlers/Failing.sh", 0o755)
    return {"PATH": "/usr/bin:/bin", "HEAL_CONF": f"{house}/self-heal.conf"}


def seed(program, house, env):
    """One real failure, whose record and history lines are the models of the others."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600))
    alert = {"status": "firing", "labels": {"alertname": "Failing", "instance": "web-0"}, "startsAt": now,
             "fingerprint": "0" * 16}
    body = json.dumps({"version": "4", "groupKey": "{}:{}", "alerts": [alert]})
    request = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    subprocess.run([program, "serve"], env=env, input=request.encode(), stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=True)
    return layout.model(f"{house}/state")


def history(folder):
    with open(f"{folder}/history.jsonl", "rb") as file:
        model = [json.loads(line) for line in file]
    prev, base = layout.GENESIS, time.time() - LINES * 60
    with open(f"{folder}/history.jsonl", "wb") as file:
        for n in range(LINES):
            line = dict(model[n % 2])
            line["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(base + n * 60))
            line["run_id"] = f"{n // 2:x}-1-1.Failing"
            line["instance"] = f"web-{n // 2 % 500}:9100"
            line["prev"] = prev
            text = json.dumps(line, separators=(",", ":")).encode()
            prev = hashlib.sha256(text).hexdigest()
            file.write(text + b"\n")
    write(f"{folder}/history.head", prev)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


main()
