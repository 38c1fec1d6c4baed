"""A program's own test suite: every result inside must be the one outside."""

import json
import os
import sys
from attempt import AGENT_UID, INSIDE, say

RESULTS = "/work/results"


def compare(name, results, least, withheld):
    """Keeps the results (test to word) outside, compares them inside. A suite in which fewer than `least` tests succeed
    shows nothing. `withheld` says of tests why the policy does not let them succeed: each of them must not."""
    succeeded = sum(word == "ok" for word in results.values())
    print(f"{name}: {len(results)} tests, {succeeded} succeeded", flush=True)
    say(f"allowed-{name}-ran", "ok" if succeeded >= least else f"only-{succeeded}")
    kept = f"{RESULTS}/{name}-{AGENT_UID}.json"
    if not INSIDE:
        with open(kept, "w") as file:
            json.dump(results, file)
    with open(kept) as file:
        outside = json.load(file)
    expected = {test for test in withheld if INSIDE and outside.get(test) == "ok"}
    differing = {test for test in outside.keys() | results.keys() if outside.get(test) != results.get(test)}
    for test in sorted(differing ^ expected):
        print(f"{test}: outside {outside.get(test)}, inside {results.get(test)}", file=sys.stderr)
    say(f"{name}-as-outside", "ok" if differing == expected else "differs")
