"""The floor that also makes every call on a file that self-heal makes, and nothing else of it: what those calls cost a
program that thinks nothing, in the caches as a connection finds them.

One healing request is served under strace(1). Its calls on files become three pieces of C, before the handler, behind it
and behind the answer, and floor.c is built with them. They are made on files as they were made on: what is read is thrown
away, what is written is zeros of the same length, and a new record has a new name each time.
"""

import os
import re
import subprocess

import house
import programs

NAME = "floor, musl, with self-heal's calls"
NEEDS = ["strace", "musl-gcc"]

# Those whose first argument is a path, and how they are called; `{path}` is one that may have the request's number in it.
BY_PATH = {
    "lstat": "lstat({path}, &about)", "stat": "stat({path}, &about)", "access": "access({path}, X_OK)",
    "mkdir": "mkdir({path}, 0700)", "unlink": "unlink({path})",
}
# Those whose first argument is a descriptor of a file; `{size}` and `{at}` are the numbers at the end.
BY_DESCRIPTOR = {
    "fstat": "fstat({fd}, &about)", "close": "close({fd})", "fsync": "fsync({fd})", "fdatasync": "fdatasync({fd})",
    "read": "read({fd}, bytes, {size})", "write": "write({fd}, zeros, {size})",
    "pread64": "pread({fd}, bytes, {size}, {at})", "pwrite64": "pwrite({fd}, zeros, {size}, {at})",
    "lseek": "lseek({fd}, {size}, SEEK_SET)", "ftruncate": "ftruncate({fd}, 0)",
    "getdents64": "syscall(SYS_getdents64, {fd}, bytes, {size})",
}
LARGEST = 32768  # of what is read or written at once: floor.c


def build(folder, home, program):
    """The floor with the calls that `program` makes for one alert in this house, which is theirs alone from then on."""
    os.makedirs(folder)
    trace = f"{folder}/trace"
    request = house.filled(house.template(), 88_888_888, home.names)
    house.ask([programs.find("strace"), "-f", "-s", "4096", "-o", trace, program, "serve"], home.environment(), request)
    with open(trace) as file:
        pieces = translated(file.read().splitlines())
    for name, lines in pieces.items():
        house.write(f"{folder}/{name}.h", "".join(f"{line};\n" for line in lines))
    target = f"{folder}/calls"
    subprocess.run([programs.find("musl-gcc"), "-O2", "-static", "-s", "-DCALLS", f"-I{folder}", f"{programs.HERE}/floor.c",
                    "-o", target], check=True)
    return target


def translated(lines):
    """{"before", "behind", "late"}: the calls as C, by when they are made."""
    pieces = {"before": [], "behind": [], "late": []}
    ours, started, now, files = lines[0].split()[0], False, "before", set()
    for line in lines:
        pid, text = line.split(None, 1)
        found = re.match(r"(\w+)\((.*?)(?:\)\s+= (-?\d+)| <unfinished)", text)
        if pid != ours or not found:
            continue
        name, arguments, result = found[1], found[2], found[3]
        if name in ("clone", "vfork", "clone3"):
            now = "behind"
        elif name in ("sendto", "send") and "HTTP/1.1" in arguments:
            now = "late"
        started = started or name == "open"
        if started and (call := one(name, arguments, result, files)):
            pieces[now].append(call)
    return pieces


def one(name, arguments, result, files):
    """One call as C, or nothing if it is on no file. `files`: the numbers of open files, as the trace has them."""
    paths = [path(found) for found in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments)]
    numbers = [int(number) for number in re.findall(r"(?<![\w.])-?\d+(?![\w.])", arguments.rsplit('"', 1)[-1])]
    if name in ("open", "memfd_create"):
        words = arguments.rsplit('"', 1)[1].strip(", ")
        call = f"{name}({paths[0]}, {words})"
        if result is None or int(result) < 0:
            # Not there, or the trace was interrupted before it said its number: opened and closed, if so.
            return f"close({call})" if result is None else call
        files.add(int(result))
        return f"fd[{result}] = {call}"
    if name == "linkat":
        return f"linkat(AT_FDCWD, {paths[0]}, AT_FDCWD, {paths[1]}, 0)"
    if name in BY_PATH:
        return BY_PATH[name].format(path=paths[0])
    first = re.match(r"(\d+)", arguments)
    number = int(first[1]) if first else None
    if number not in files:
        return None
    descriptor = f"fd[{number}]"
    if name == "flock":
        return f"flock({descriptor}, {arguments.split(',', 1)[1].strip()})"
    if name not in BY_DESCRIPTOR:
        return None
    if name == "close":
        files.discard(number)
    size, at = (numbers[-2:] if name.startswith("p") else (numbers[-1:] or [4096]) + [0])
    return BY_DESCRIPTOR[name].format(fd=descriptor, size=min(size, LARGEST), at=at)


def path(text):
    """A path as C: a record's is another one for each request, a process is this one."""
    numbered = re.sub(r"(?<=/records/)(\.new-)?[0-9a-f]+$", r"\1%", text)
    if numbered != text:
        return f'numbered("{numbered}")'
    return '"' + re.sub(r"^/proc/\d+/", "/proc/self/", text) + '"'
