"""What the log says of the opens of repeats.py: entries that are events, and what these and the entries that stand for
repetitions come to."""

import collections
import datetime
import json
import os
import subprocess

T = os.environ["T"]


def aegis(*words):
    return subprocess.run(["aegis", "events", "--agent", os.environ["AGENT"], *words], stdout=subprocess.PIPE, check=True).stdout


events, sums, begun, shown = collections.Counter(), collections.Counter(), {}, 0
for line in aegis("--kind", "file", "-o", "json").splitlines():
    entry = json.loads(line)
    path = entry["file"]["path"].removeprefix(T)
    if entry["file"]["op"] != "read" or not path.startswith(("/vault/", "/in/")):
        continue
    # By process, where there are several at one name; all of many names together.
    what = "many" if "/many/" in path else path.split("/")[-1]
    group = (what, entry["process"]["pid"] if what in ("one", "two") else 0)
    same = [entry["process"], entry["file"], entry["verdict"], entry["rule"], entry["image"]]
    sums[group] += entry.get("count", 1)
    if "count" not in entry:
        events[group] += 1
        begun[entry["kernel_seq"]] = (same, 0)
        continue
    of, total = begun[entry["repeats"]]
    assert same == of, (same, of)
    assert entry["repeats_total"] == total + entry["count"], entry
    begun[entry["repeats"]] = (of, entry["repeats_total"])
    first, last = (datetime.datetime.fromisoformat(entry[key][:26]) for key in ("start_time", "end_time"))
    assert first <= last and entry["time"] >= entry["end_time"], entry
    shown += entry["count"]

seen = [line.split(" ×")[1].split()[0] for line in aegis("--kind", "file").decode().splitlines() if any(f" read {T}/{at}/" in line for at in ("vault", "in")) and " ×" in line]
assert sum(int(number.replace(",", "")) for number in seen) == shown, "as people see it"
said = 0
if os.path.exists(f"{T}/work/dying"):
    with open(f"{T}/work/dying") as file:
        said = int(file.read().split()[0])
for group in sorted(sums):
    what, of = group[0], sums[group]
    of = "all" if what == "dying" and of == said else of
    print(f"{what}: {'more' if what == 'many' and events[group] > 1100 else events[group]} of {of}")
