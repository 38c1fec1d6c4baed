import json
import os
import shutil
import subprocess
import time
from attempt import T, say

STATE, OUT, CONFIG = "/var/lib/aegis", f"{T}/out", "/etc/aegis/aegis.yaml"
LOG = f"{STATE}/log"
AGENT = os.environ["AGENT"]
MARK = "a-name-nobody-may-find-4711"
DAY = 86400
ALICE, BOB = 1000, 4000
# As somebody who has logged in: who asks and who approves are people, not processes.
LOGIN = ["sh", "-c", 'echo "$1" > /proc/self/loginuid || exit 99; shift; exec "$@"', "sh"]


def run(*words, person=None):
    words = [*LOGIN, str(person), *words] if person else words
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    print(words, done.returncode, done.stdout[-600:], done.stderr[-400:], flush=True)
    return done


def agent(name, path):
    return run("aegis", "run", "--policy", f"{T}/agent.yaml", "--name", name, "--", "cat", path)


def set_clock(by):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + by)


def is_encrypted(name):
    with open(f"{LOG}/{name}", "rb") as file:
        return file.read(12)[10] == 1


def plain():
    return [name for name in sorted(os.listdir(LOG)) if name.endswith(".seg") and not is_encrypted(name)]


def wait_for(what, seconds):
    for _ in range(seconds * 5):
        if what():
            return True
        time.sleep(0.2)
    return False


def grep(where):
    found = run("grep", "-rlaF", MARK, where).stdout.split()
    return [os.path.relpath(path, STATE) for path in found]


def events(*more):
    return [json.loads(line) for line in run("aegis", "events", "-o", "json", *more).stdout.splitlines()]


def verdict(name, *words):
    done = run(*words)
    says = {"INTACT": "INTACT", "TAMPERED": "TAMPERED", "their keys are not here": "withheld", "erased: what": "erased"}
    say(name, " ".join([str(done.returncode), *(word for text, word in says.items() if text in done.stdout)]))


def refused(name, done, **words):
    said = [word for word, text in words.items() if text in done.stdout + done.stderr]
    say(name, " ".join([str(done.returncode), *said]))


def ask(name, day, person=ALICE):
    return run("aegis", "log", "erase", "--agent", name, "--day", day, "--reason", "she asked for it", "-o", "json", person=person)


def configure(hold):
    if hold is None:
        os.unlink(CONFIG)
        return
    with open(CONFIG, "w") as file:
        file.write(f'version: "1.0"\naudit: {{hold: {hold}}}\n')
    os.chmod(CONFIG, 0o644)


# The day before yesterday: a segment of its own, which ends when the clock is right again.
with open(f"/root/{MARK}", "w") as file:
    file.write("secret")
set_clock(-2 * DAY)
then = time.strftime("%Y-%m-%d", time.gmtime())
agent(AGENT, f"/root/{MARK}")
agent(f"{AGENT}-other", "/etc/shadow")
told = [entry for entry in events("--agent", AGENT) if MARK in json.dumps(entry)]
other = [entry["seq"] for entry in events("--agent", f"{AGENT}-other")]
say("said-before", "denied" if any(entry.get("verdict") == "deny" for entry in told) else f"{told}")
say("in-the-clear-before", "index log" if {path.split("/")[0].split(".")[0] for path in grep(STATE)} == {"index", "log"} else "nowhere")
early = ask(AGENT, then)
refused("erased-too-early", early, early="not encrypted yet")
set_clock(2 * DAY)
agent(f"{AGENT}-other", "/etc/shadow")
# It looks every fifteen seconds.
say("encrypted", "all-but-the-last" if wait_for(lambda: len(plain()) == 1, 60) else f"{plain()}")
wait_for(lambda: not grep(STATE), 30)
say("in-the-clear", " ".join(grep(STATE)) or "nowhere")
keys = [f"{STATE}/log.kek", *(f"{STATE}/log.keys/{name}" for name in os.listdir(f"{STATE}/log.keys"))]
modes = {oct(os.stat(path).st_mode & 0o777) for path in keys}
say("keys", f"{len(keys) > 3} {' '.join(sorted(modes))}")
again = [entry for entry in events("--agent", AGENT) if MARK in json.dumps(entry)]
say("said-after", "the-same" if again == told else f"{again}")
found = {entry["seq"] for entry in events("--path", "/root/*nobody-may-find*", "--agent", AGENT)}
named = {entry["seq"] for entry in told if MARK in entry.get("file", {}).get("path", "")}
say("found-by-path", "the-same" if named and found == named else f"{found} {named}")
os.unlink(f"/root/{MARK}")
verdict("verified", "aegis", "verify")
shutil.copytree(LOG, f"{OUT}/copy/log")
verdict("verified-without-keys", "aegis-verify", "--dir", f"{OUT}/copy/log")
verdict("verified-with-keys", "aegis-verify", "--dir", f"{OUT}/copy/log", "--keys", f"{STATE}/log.keys", "--kek", f"{STATE}/log.kek")
of_then = [name for name in sorted(os.listdir(f"{OUT}/copy/log")) if name.endswith(f"{then}.seg")][-1]
with open(f"{OUT}/copy/log/{of_then}", "r+b") as file:
    file.seek(os.path.getsize(file.name) // 2)
    byte = file.read(1)[0]
    file.seek(-1, 1)
    file.write(bytes([byte ^ 1]))
verdict("one-bit-of-an-encrypted-segment", "aegis-verify", "--dir", f"{OUT}/copy/log")

configure("case 4711")
refused("erased-while-held", ask(AGENT, then), held="audit.hold")
configure(None)
refused("erased-of-nobody", ask(f"{AGENT}-nobody", then), nothing="nothing to erase")
refused("erased-without-login", ask(AGENT, then, person=None), login="no login uid")
request = str(json.loads(ask(AGENT, then).stdout)["request"])
refused("erased-alone", run("aegis", "approvals", "approve", request, person=ALICE), own="is your own")
say("before-the-second", "there" if any(MARK in json.dumps(entry) for entry in events("--agent", AGENT)) else "gone")
# The entry of this one holds the request no longer than it takes: a hold comes between the two.
configure("case 4712")
refused("approved-while-held", run("aegis", "approvals", "approve", request, person=BOB), held="audit.hold")
configure(None)
request = str(json.loads(ask(AGENT, then).stdout)["request"])
refused("erased-by-two", run("aegis", "approvals", "approve", request, person=BOB), erased="erased: what entries")
left = [json.dumps(entry) for entry in events("--since", f"{then}T00:00:00Z", "--until", f"{then}T23:59:59Z")]
erased = [entry for entry in map(json.loads, left) if "was erased" in entry.get("unread", "")]
say("said-then", f"{'nothing' if not any(MARK in entry for entry in left) else 'there'} {len(erased) >= len(told)}")
kept = {entry["seq"] for entry in events("--agent", f"{AGENT}-other")}
say("said-of-others", "there" if set(other) <= kept else f"{set(other) - kept}")
seq = str(told[0]["seq"])
say("receipt-of-the-header", run("aegis", "log", "receipt", seq).returncode)
refused("receipt-of-the-body", run("aegis", "log", "receipt", seq, "--body"), erased="was erased")
acts = [(entry.get("operator", {}).get("action"), entry.get("daemon", {}).get("state")) for entry in events()]
say("told", " ".join(sorted({word for pair in acts for word in pair if word and word.startswith("eras")})))
verdict("verified-when-erased", "aegis", "verify")
shutil.copytree(f"{STATE}/log.keys", f"{OUT}/keys")
for name in os.listdir(f"{OUT}/keys"):
    if name.endswith(".erased"):
        os.unlink(f"{OUT}/keys/{name}")
verdict("without-the-statement", "aegis-verify", "--keys", f"{OUT}/keys")
