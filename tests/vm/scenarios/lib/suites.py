"""A program's own test suite: every result inside must be the one outside."""

import json
import os
import sys
from attempt import AGENT_UID, INSIDE, say

RESULTS = "/work/results"


def compare(name, results, least):
    """Keeps the results (test to word) outside, compares them inside. A suite in which fewer than `least` tests succeed shows nothing."""
    succeeded = sum(word == "ok" for word in results.values())
    print(f"{name}: {len(results)} tests, {succeeded} succeeded", flush=True)
    say(f"allowed-{name}-ran", "ok" if succeeded >= least else f"only-{succeeded}")
    kept = f"{RESULTS}/{name}-{AGENT_UID}.json"
    if not INSIDE:
        with open(kept, "w") as file:
            json.dump(results, file)
    with open(kept) as file:
        outside = json.load(file)
    for test in sorted(outside.keys() | results.keys()):
        if outside.get(test) != results.get(test):
            print(f"{test}: outside {outside.get(test)}, inside {results.get(test)}", file=sys.stderr)
    say(f"{name}-as-outside", "ok" if results == outside else "differs")
