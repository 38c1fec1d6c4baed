import grp
import json
import os
import signal
import subprocess
import time
from attempt import T, say

OUT = f"{T}/out"
# It has nowhere to pin programs: the machine's own engine goes on governing alone.
DAEMON = ["aegisd", "--run-dir", f"{OUT}/run", "--state-dir", f"{OUT}/state", "--pin-dir", f"{OUT}/no-bpffs",
          "--config-dir", f"{OUT}/etc"]
ALICE, BOB = 1000, 4000
# Takes no privilege where nobody has logged in.
LOGIN = ["sh", "-c", '[ -z "$1" ] || echo "$1" > /proc/self/loginuid || exit 99; shift; exec "$@"', "sh"]


def configure(access):
    os.makedirs(f"{OUT}/etc", exist_ok=True)
    os.chmod(OUT, 0o755)
    with open(f"{OUT}/etc/aegis.yaml", "w") as file:
        file.write(f'version: "1.0"\naudit: {{access: {access}, elevation: 10m}}\n')
    os.chmod(f"{OUT}/etc/aegis.yaml", 0o644)


def aegis(person, *words, socket=True, uid=0):
    """The command as somebody who has logged in, or as nobody; as root by way of sudo, or as a member of the group."""

    def become():
        if uid:
            os.setgroups([])
            os.setgid(grp.getgrnam("aegis").gr_gid)
            os.setuid(uid)

    where = ["--socket", f"{OUT}/run/aegisd.sock"] if socket else []
    # By a program of its own: who has just become another user may not write to its own /proc.
    command = [*LOGIN, "" if person is None else str(person), "aegis", *where, *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, preexec_fn=become, timeout=120)
    print(words, done.returncode, done.stdout[-300:], done.stderr[-500:], flush=True)
    return done


# What a refusal says, as a word.
SAYS = {"read for a reason": "reason", "logged in for this process: ask": "another", "login uid": "login",
        "two people": "two-people", "is your own": "own", "minutes at most": "minutes", "waits:": "waits", "has ended": "ended"}


def told(name, done):
    said = [word for text, word in SAYS.items() if text in done.stderr]
    say(name, " ".join([str(done.returncode), *said[:1]]))


def start():
    daemon = subprocess.Popen(DAEMON, stdin=subprocess.DEVNULL, stdout=open(f"{OUT}/messages", "ab"), stderr=subprocess.STDOUT)
    for _ in range(240):
        if daemon.poll() is None and aegis(None, "status").returncode in (0, 1):
            return daemon
        time.sleep(0.5)
    raise SystemExit(open(f"{OUT}/messages").read())


def request(*more, uid=0):
    asked = aegis(ALICE, "log", "access", "--reason", "incident 7", "-o", "json", *more, uid=uid)
    return str(json.loads(asked.stdout)["request"])


def log():
    found = aegis(None, "events", "-D", f"{OUT}/state/log", "-o", "json", socket=False)
    return [entry["operator"] for entry in map(json.loads, found.stdout.splitlines()) if "operator" in entry]


configure("everybody")
bad = subprocess.run(DAEMON, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
say("bad-setting", f"{bad.returncode} {'named' if 'aegis.yaml:2:' in bad.stdout and 'two-person' in bad.stdout else bad.stdout[-200:]}")
configure("two-person")
daemon = start()
try:
    told("without-login", aegis(None, "events"))
    told("alone", aegis(ALICE, "events", "--reason", "incident 7"))
    told("without-reason", aegis(ALICE, "log", "access", "--reason", " "))
    told("too-long", aegis(ALICE, "log", "access", "--reason", "incident 7", "--for", "11m"))
    told("under-a-false-name", aegis(BOB, "log", "access", "--reason", "incident 7", uid=ALICE))
    first = request()
    told("approved-under-a-false-name", aegis(BOB, "approvals", "approve", first, uid=ALICE))
    told("approved-by-oneself", aegis(ALICE, "approvals", "approve", first))
    told("still-alone", aegis(ALICE, "events"))
    told("approved-by-another", aegis(BOB, "approvals", "approve", first))
    told("two-people", aegis(ALICE, "events"))
    told("receipt-by-two", aegis(ALICE, "log", "receipt", "0"))
    told("the-other-one-alone", aegis(BOB, "events"))
    told("decided-again", aegis(BOB, "approvals", "approve", first))
    # The first approval would hold for minutes: without a daemon that knows it the short one alone counts.
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    daemon = start()
    short = request("--for", "8s", uid=ALICE)
    aegis(BOB, "approvals", "approve", short)
    told("following-when-the-time-is-over", aegis(ALICE, "events", "-f", uid=ALICE))
    told("after-the-time", aegis(ALICE, "events"))
    again = request()
    aegis(BOB, "approvals", "approve", again)
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    daemon = start()
    told("after-the-daemon-was-killed", aegis(ALICE, "events"))
    WANTED = [
        ("alone", lambda o: o["action"] == "read" and o["login_uid"] == ALICE and "two people" in o["outcome"]),
        ("too-long", lambda o: o["action"] == "access_request" and "minutes at most" in o["outcome"]),
        ("asked", lambda o: o["action"] == "access_request" and o["login_uid"] == ALICE and o["reason"] == "incident 7"),
        ("own", lambda o: o["action"] == "access_approve" and o["login_uid"] == ALICE and "is your own" in o["outcome"]),
        ("approved", lambda o: o["action"] == "access_approve" and o["login_uid"] == BOB and o["outcome"] == "ok"),
        ("read", lambda o: o["action"] == "read" and o["login_uid"] == ALICE and o["outcome"] == f"ok, by request {first}"),
        ("other", lambda o: o["action"] == "read" and o["login_uid"] == BOB and "refused" in o["outcome"]),
        ("over", lambda o: o["action"] == "read" and o["login_uid"] == ALICE and "refused" in o["outcome"]),
    ]
    seen = []
    for entry in log():
        if len(seen) < len(WANTED) and WANTED[len(seen)][1](entry):
            seen.append(WANTED[len(seen)][0])
    say("in-the-log", " ".join(seen))
finally:
    daemon.kill()
    daemon.wait()
