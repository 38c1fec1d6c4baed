"""The same decisions, over and over."""

import signal
import subprocess
import time
from attempt import INSIDE, T, output, say, step

AGAIN = f"{T}/prog/again"


def loop(name, count, *paths):
    say(name, output([AGAIN, str(count), *paths]).strip())


def start(*words):
    return subprocess.Popen([AGAIN, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


loop("denied", 20_000, f"{T}/vault/key")
loop("recorded", 20_000, f"{T}/in/note")

# Two processes at the same two names.
both = [start("1000", f"{T}/vault/one", f"{T}/vault/two") for _ in range(2)]
say("two-at-two", " and ".join(p.communicate()[0].decode().strip() for p in both))

# It goes on for a while without a daemon, and for a while with the next one.
dying = start("0", f"{T}/vault/dying")
if INSIDE:
    step("first-is-durable")
    step("@daemon-kill")
time.sleep(2)
if INSIDE:
    step("@daemon-start")
    step("agent-is-known")
time.sleep(2)
dying.send_signal(signal.SIGTERM)
said = dying.communicate()[0].decode().strip()
with open(f"{T}/work/dying", "w") as file:
    file.write(said)
tried, refused = (int(part.split()[0]) for part in said.split(", "))
say("daemon-killed", "all refused" if tried == refused else "none refused" if refused == 0 else said)

# More names than there are counters for one agent.
loop("many", 2_200, "-1100", f"{T}/vault/many/")
