"""The bench's figures as tables: plain for a terminal, Markdown between the marks of a document."""

import re

BEGIN, END = "<!-- bench: written by tests/bench/run --update -->", "<!-- /bench -->"

PARTS = ("sequential", "storm", "once", "durable", "growth")


def text(result):
    """All tables, aligned, and the ratios beside the figures."""
    return "\n\n".join(plain(title, head, rows) for title, head, rows in tables(result))


def update(path, result):
    """Writes the tables between the marks of this document."""
    with open(path) as file:
        document = file.read()
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise SystemExit(f"{path}: no place for the tables: {BEGIN} and {END}, once each")
    machine = result["machine"]
    words = ", ".join(filter(None, [
        f"{machine['processors']} processors ({machine['processor']})",
        "a virtual machine" if machine["virtual"] else "", f"Linux {machine['kernel']}", machine["system"],
        f"state on {machine['file systems'][0]}, on disk {machine['file systems'][1]}"]))
    parts = [BEGIN, f"Measured on {words}. Microseconds unless a unit is named; ratios are to the floors of the same spawner."]
    parts += [f"{title}\n\n{markdown(head, rows)}" for title, head, rows in tables(result)]
    before, rest = document.split(BEGIN)
    after = rest.split(END)[1]
    with open(path, "w") as file:
        file.write(before + "\n\n".join(parts) + "\n" + END + after)


def tables(result):
    for part in PARTS:
        if result.get(part):
            yield from globals()[part](result[part])


def sequential(rows):
    glibc, musl = floors(rows, "p50", lambda row: row["group"])
    used, _ = floors(rows, "cpu", lambda row: row["group"])
    shown = [[row["group"], row["name"], row["p50"], row["p95"], row["p99"], ratio(row["p50"], glibc(row)),
              ratio(row["p50"], musl(row)), row.get("cpu"), ratio(row.get("cpu"), used(row)), row.get("faults")]
             for row in rows]
    yield ("One request after another", ["spawner", "server", "p50", "p95", "p99", "x glibc floor", "x musl floor",
                                         "CPU", "x floor's CPU", "page faults"], shown)
    bash = next((row for row in rows if row["name"] == "bash, many jq" and row.get("cpu")), None)
    if bash:
        mine = [row for row in rows if row["name"].startswith("self-heal") and row["group"] == "socat" and row.get("cpu")]
        yield ("CPU of the Bash listener with a jq for each field, as a multiple",
               ["server", "times"], [[row["name"], f"{bash['cpu'] / row['cpu']:.0f} x"] for row in mine])


def storm(rows):
    glibc, musl = floors(rows, "ms", lambda row: (row["group"], row["size"]))
    shown = [[row["group"], row["name"], row["size"], row["ms"], ratio(row["ms"], glibc(row)), ratio(row["ms"], musl(row)),
              f"{row['answered']} of {row['asked']}", row["again"], row["ran"], row["twice"]]
             for row in sorted(rows, key=lambda row: row["size"])]
    yield ("So many at once", ["spawner", "server", "at once", "ms", "x glibc floor", "x musl floor", "answered 200",
                               "asked again", "handlers run", "run twice"], shown)


def once(rows):
    shown = [[row["name"], row["p50"], row["cpu"], row["peak_kib"], row["faults"], row.get("calls"), row.get("syncs"),
              row.get("instructions"), row["start"], row["start_faults"], row.get("healthy"), row["size"]] for row in rows]
    yield ("One connection without a spawner", ["program", "p50", "CPU", "peak KiB", "page faults", "system calls",
                                                "syncs", "instructions", "start-up alone", "its page faults",
                                                "GET /-/healthy", "bytes"], shown)


def durable(rows):
    yield ("One durable update", ["where", "file system", "in place and fdatasync", "a record comes into the world"],
           [[row["name"], row["kind"], row["in_place"], row["created"]] for row in rows])


def growth(rows):
    first = {}
    for row in rows:
        first.setdefault(row["what"], row["p50"])
    yield ("How it grows", ["what", "how many", "p50", "x the fewest"],
           [[row["what"], f"{row['size']:,}", row["p50"], ratio(row["p50"], first[row["what"]])] for row in rows])


def floors(rows, value, key):
    """Functions that find, for a row, the value of the glibc and the musl floor it is compared with. What no spawner of
    its own starts is compared with the floors under socat."""
    def of(libc):
        known = {key(row): row.get(value) for row in rows if row["name"] == f"floor, {libc}"}
        def find(row):
            mine = known.get(key(row))
            return mine if mine is not None else known.get(key(dict(row, group="socat")))
        return find
    return of("glibc"), of("musl")


def ratio(value, floor):
    return f"{value / floor:.2f}" if value and floor else None


def cell(value):
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def plain(title, head, rows):
    cells = [head, *([cell(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    left = [all(not re.match(r"^[\d,.-]+$", row[at]) for row in cells[1:]) for at in range(len(head))]
    lines = ["  ".join(word.ljust(width) if side else word.rjust(width) for word, width, side in zip(row, widths, left))
             for row in cells]
    return "\n".join([title, "", *(line.rstrip() for line in lines)])


def markdown(head, rows):
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(value) for value in row)} |" for row in rows)])
