"""Honest work: real programs that must end as they do outside."""

import os
import subprocess
import time
from attempt import AGENT_UID, say

WORK = "/work/scenario"
# How much of a long suite is run: sample, tenth or whole.
EXTENT = os.environ["EXTENT"]
environment = {**os.environ, "HOME": "/home/agent" if AGENT_UID else "/root", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
               "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}

# The agent's own TMPDIR belongs to who started it; another user takes the project's.
if not os.access(environment.get("TMPDIR", "/tmp"), os.W_OK):
    environment["TMPDIR"] = "/work/tmp"


def does(name, expected, *words, cwd=WORK):
    """Reports whether a command succeeds and prints what is expected; shows what it printed if not."""
    begun = time.monotonic()
    done = subprocess.run(words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="backslashreplace")
    good = done.returncode == 0 and expected in done.stdout
    print(f"{words[0]}: {time.monotonic() - begun:.0f} s", "" if good else done.stdout[-6000:], flush=True)
    say(name, "ok" if good else f"status-{done.returncode}")
