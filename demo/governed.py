"""What the demo asks `aegis` for: events, the kill switch, the log."""

import json
import os
import shutil
import subprocess
import tempfile
import time

AGENT = "demo-agent"
LOG = "/var/lib/aegis/log"


class Failed(Exception):
    """A command of aegis failed; its words."""


def aegis(*words, good=(0,)):
    """Runs aegis; what it printed."""
    done = subprocess.run(["aegis", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if done.returncode not in good:
        raise Failed(f"aegis {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def last_seq():
    """The newest entry of the log, -1 when there is none yet."""
    try:
        lines = aegis("events", "-n", "1", "-o", "json").splitlines()
    except Failed:
        return -1
    return json.loads(lines[-1])["seq"] if lines else -1


def denials(after):
    """What was denied to the demo's agent since then."""
    more = ["--after-seq", str(after)] if after >= 0 else []
    lines = aegis("events", "-o", "json", "--agent", AGENT, "--verdict", "deny", *more).splitlines()
    return [json.loads(line) for line in lines]


def as_read(events):
    """The same as `aegis events` shows them to a person."""
    saved = "".join(json.dumps(event) + "\n" for event in events)
    done = subprocess.run(["aegis", "events", "--input", "-"], input=saved, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.splitlines()


def matches(event, kind, op, what):
    """Whether a denial is of that kind and about that path or address."""
    about = event.get(kind, {})
    named = about.get("path") or f"{about.get('address')}:{about.get('port')}"
    return event["kind"] == kind and about.get("op") in op and named.startswith(what)


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup") as file:
        return "/sys/fs/cgroup" + [line for line in file if line.startswith("0::")][0][3:].strip()


def members(cgroup):
    with open(f"{cgroup}/cgroup.procs") as file:
        return [int(line) for line in file]


def frozen(cgroup):
    with open(f"{cgroup}/cgroup.events") as file:
        return "frozen 1" in file.read()


def kill():
    """Pulls the switch; nanoseconds to the flag, to the last frozen task, and how many tasks."""
    answer = json.loads(aegis("kill", AGENT, "--reason", "demo", "-o", "json"))
    killed = first(answer, "frozen_ns")
    if killed is None or not killed.get("frozen"):
        raise Failed(f"aegis kill did not report the agent frozen: {answer}")
    return int(killed["flag_ns"]), int(killed["frozen_ns"]), int(killed["tasks"])


def first(value, field):
    """The first object that has the field."""
    if isinstance(value, dict):
        if field in value:
            return value
        value = list(value.values())
    if isinstance(value, list):
        return next((found for found in (first(v, field) for v in value) if found), None)
    return None


def end(cgroup):
    """Ends what is frozen: the kernel kills a frozen cgroup whole."""
    try:
        with open(f"{cgroup}/cgroup.kill", "w") as file:
            file.write("1")
    except FileNotFoundError:
        pass


def verify(folder=LOG):
    """Exit status, words and seconds of `aegis verify`."""
    begun = time.monotonic()
    done = subprocess.run(["aegis", "verify", "--dir", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.strip(), time.monotonic() - begun


def verify_with_one_bit_changed():
    """The same for a copy in which one bit of one entry is another."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(LOG, f"{folder}/log")
        files = [os.path.join(at, f) for at, _, names in os.walk(copy) for f in names if not f.endswith((".sqlite", ".lock"))]
        largest = max(files, key=os.path.getsize)
        with open(largest, "r+b") as file:
            file.seek(os.path.getsize(largest) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        return verify(copy)
