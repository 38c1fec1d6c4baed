import base64
import glob
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from attempt import T, say, step

AGENT, OUT, RULES = os.environ["AGENT"], f"{T}/out", "/etc/aegis/redact.d"
STATE, MESSAGES = "/var/lib/aegis", "/var/log/aegisd-vm-tests.log"

# Each is planted in one place only, so that what is found says where it got through.
CANARY = {
    "token": "ghp_aK4mQ8zT1xW5bN9cR3vF7jH2pL6sD0gY4e1Z",
    "option": "Kq7option3Vx9mZt2",
    "variable": "Kq7variable3Vx9mZt2",
    "environment": "Kq7environment3Vx9mZt2",
    "url": "Kq7url3Vx9mZt2",
    "parameter": "Kq7parameter3Vx9mZt2",
    "pair": "Kq7pair3Vx9mZt2",
    "header": "Kq7header3Vx9mZt2",
    "script": "Kq7script3Vx9mZt2",
    "pem": "b3BlbnNzaC1rZXktdjEAAAAAKq7pem3Vx9mZt2",
    "cut": "github_pat_cUt4Vx9mZt2Kq7aK4mQ8zT1xW5bN9cR3vF7jH2pL6sD0",
    "own": "Kq7own3Vx9mZt2",
    "path": "glpat-pAtH4Vx9mZt2Kq7aK4mQ",
    "target": "xoxb-tArGeT-4Vx9mZt2Kq7aK4mQ",
    "denied": "sk-ant-dEnIeD4Vx9mZt2Kq7aK4mQ8zT1xW5",
    "socket": "AIzasOcKeT4Vx9mZt2Kq7aK4mQ8zT1xW5bN9cR3",
    "abstract": "npm_aBsTrAcT4Vx9mZt2Kq7aK4mQ8zT1xW5bN9",
    "dns": "akiadnsdnsdns4vx9mzt",
    "comm": "ghp_cOmM4Vx9mZt2Kq7",
    "run": "Kq7run3Vx9mZt2",
    "reason": "Kq7reason3Vx9mZt2",
    "asked": "Kq7asked3Vx9mZt2",
    "filter": "glpat-fIlTeR4Vx9mZt2Kq7aK",
    "manifest": "Kq7manifest3Vx9mZt2",
    "rule": "sk_live_rUlE4Vx9mZt2Kq7aK4mQ",
}
# No secrets, beside them: where these are not found, nothing was searched.
PLAIN = {word: f"kept-{word}-4vx9" for word in ("argument", "script", "path", "bytes", "abstract", "dns", "run", "reason", "manifest")}


def visible(secret):
    """What of a canary must not be seen: what is behind its prefix, or as much of it as a cut leaves."""
    return re.sub(r"^(ghp_|github_pat_|glpat-|xoxb-|sk-ant-|AIza|npm_|akia|sk_live_)", "", secret)[:10]


def forms(text):
    """The text itself and as base64 shows it, wherever in the bytes it begins."""
    raw = text.encode()
    shown = [raw]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
        shown.append(encoded[(0, 2, 3)[shift]:len(encoded) - 1])
    return shown


def aegis(*words, **more):
    return subprocess.run(["aegis", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more).stdout


def files(pattern):
    return b"\0".join(open(path, "rb").read() for path in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(path))


def receipts(entries):
    return b"\n".join(aegis("log", "receipt", str(entry["seq"]), "--body", "--reason", f"token={CANARY['asked']}") for entry in entries)


def several(entries):
    """Of each kind some of those that something was taken out of."""
    kinds = {}
    for entry in entries:
        if entry.get("redacted"):
            kinds.setdefault(entry["kind"], []).append(entry)
    return [entry for of_kind in kinds.values() for entry in of_kind[:3]]


def events(*more):
    return [json.loads(line) for line in aegis("events", "-o", "json", *more).splitlines() if line.startswith(b"{")]


def start(canary, *more):
    with open(f"{T}/in/told.json", "w") as file:
        json.dump({"T": T, "canary": canary, "plain": PLAIN}, file)
    return subprocess.Popen(
        ["aegis", "run", "--policy", f"{T}/secret.yaml", "--name", AGENT, "--", "python3", "-SB", f"{T}/prog/secrets_agent.py", f"{T}/in/told.json",
         *more, PLAIN["run"], "--token", CANARY["run"]],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


def restart():
    step("@daemon-kill")
    step("@daemon-start")


def places():
    """All that the daemon wrote or says, by the names of where."""
    shutil.rmtree(f"{OUT}/export", ignore_errors=True)
    aegis("log", "export", f"{OUT}/export", "--bodies")
    return {
        "log": files(f"{STATE}/log/**"),
        "index": files(f"{STATE}/index.sqlite*"),
        "export": files(f"{OUT}/export/**"),
        "receipts": receipts(several(events("--agent", AGENT))),
        "events-json": aegis("events", "-o", "json"),
        "events-pretty": aegis("events", "-o", "json-pretty"),
        "events-short": aegis("events"),
        "events-of-files": aegis("events", "--dir", f"{STATE}/log", "-o", "json"),
        "events-followed": open(f"{OUT}/followed", "rb").read(),
        "agents": open(f"{OUT}/agents", "rb").read(),
        "status": aegis("status") + aegis("status", "-o", "json"),
        "messages": open(MESSAGES, "rb").read(),
    }


def found(where, words, shown=lambda word: word):
    return sorted(name for name, text in words.items() if any(form in where for form in forms(shown(text))))


os.mkdir(OUT)
# What is not there is not refused: the kernel finds that out first.
open(f"{T}/vault/{CANARY['denied']}", "w").close()
listeners = []
for address in (f"{T}/vault/{CANARY['socket']}.sock", f"\0{CANARY['abstract']}.{PLAIN['abstract']}"):
    listeners.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listeners[-1].bind(address)
    listeners[-1].listen()
open(f"{OUT}/agents", "wb").close()
with open(f"{T}/secret.yaml", "w") as file:
    file.write(f"""version: "1.0"
# {PLAIN['manifest']}; password: {CANARY['manifest']}
agent: {{name: scenario}}
permissions:
  fs:
    read: ["{T}/prog", "{T}/in", "{T}/in/{CANARY['rule']}"]
    write: ["{T}/work"]
    deny: ["{T}/vault"]
  network:
    allow: ["api.aegis.test"]
    dns: {{resolvers: [127.0.0.1]}}
""")
followed = open(f"{OUT}/followed", "wb")
follower = subprocess.Popen(["aegis", "events", "-f", "-o", "json"], stdin=subprocess.DEVNULL, stdout=followed, stderr=subprocess.STDOUT)

# What no built-in rule knows gets through: the search finds what is there.
agent = start(CANARY)
agent.communicate()
aegis("log", "export", f"{OUT}/export", "--bodies")
first = {"log": files(f"{STATE}/log/**"), "export": files(f"{OUT}/export/**"), "events-json": aegis("events", "-o", "json"), "events-short": aegis("events")}
say("without-its-rule", " ".join(name for name, text in first.items() if "own" in found(text, CANARY, visible)))
follower.kill()
follower.wait()

# The same with the operator's rule. The log that has the secret is put away: nothing takes it out of what is signed.
os.makedirs(RULES, mode=0o755, exist_ok=True)
with open(f"{RULES}/acme.yaml", "w") as file:
    file.write("version: \"1.0\"\nrules:\n  - name: acme\n    pattern: 'acme:(?P<secret>\\w+'\n")
bad = subprocess.run(["aegisd", "--run-dir", f"{OUT}/run", "--state-dir", f"{OUT}/state"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
say("bad-rule", f"{bad.returncode} {'named' if b'acme.yaml:4:' in bad.stdout else bad.stdout}")
with open(f"{RULES}/acme.yaml", "w") as file:
    file.write("version: \"1.0\"\nrules:\n  - name: acme\n    pattern: 'acme:(?P<secret>\\w+)'\n")
step("@daemon-kill")
for name in os.listdir(STATE):
    os.rename(f"{STATE}/{name}", f"{OUT}/before-{name}")
open(MESSAGES, "w").close()
step("@daemon-start")
tested = subprocess.run(["aegis", "redact", "test", "--", "x", f"acme:{CANARY['own']}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
say("rule-tried-out", tested.stdout.decode().strip())

followed = open(f"{OUT}/followed", "wb")
follower = subprocess.Popen(["aegis", "events", "-f", "-o", "json", "--reason", f"token={CANARY['asked']}"], stdin=subprocess.DEVNULL, stdout=followed, stderr=subprocess.STDOUT)
agent = start(CANARY, "wait")
deadline = time.monotonic() + 60
while not [e for e in events("--agent", AGENT) if "vault/key" in json.dumps(e)] and time.monotonic() < deadline:
    time.sleep(0.5)
with open(f"{OUT}/agents", "wb") as file:
    file.write(aegis("agents") + aegis("agents", "-o", "json"))
aegis("kill", AGENT, "--reason", f"{PLAIN['reason']}, api_key={CANARY['reason']}")
aegis("thaw", AGENT, "--reason", f"{PLAIN['reason']}, api_key={CANARY['reason']}")
agent.communicate(b"\n")
aegis("events", "--path", f"/x/{CANARY['filter']}", "--reason", f"token={CANARY['asked']}")
named = subprocess.run(["aegis", "run", "--policy", f"{T}/secret.yaml", "--name", CANARY["token"], "--", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
say("name-that-is-a-secret", f"{named.returncode} {'refused' if b'looks like a secret' in named.stdout else named.stdout}")

everywhere = places()
follower.kill()
follower.wait()
for name, text in everywhere.items():
    leaked = found(text, CANARY, visible)
    say(f"in-{name}", " ".join(leaked) if leaked else "nothing")
EXPECTED = {
    "log": list(PLAIN), "export": list(PLAIN), "events-json": list(PLAIN), "events-pretty": list(PLAIN), "events-of-files": list(PLAIN),
    "events-followed": [word for word in PLAIN], "events-short": ["argument", "script", "path", "abstract", "dns", "reason"],
    "index": ["path", "abstract", "dns"], "receipts": ["argument", "run"],
    "agents": [], "status": [], "messages": [],
}
searched = [f"{name}:{word}" for name, words in EXPECTED.items() for word in words if word not in found(everywhere[name], PLAIN)]
searched += [name for name, mark in (("agents", AGENT), ("status", "hooks"), ("messages", "ready")) if mark.encode() not in everywhere[name]]
say("searched", " ".join(searched) if searched else "everywhere")

# Every place in which one was planted says so.
noted = {}
for entry in events():
    for one in entry.get("redacted", []):
        noted[one["rule"]] = noted.get(one["rule"], 0) + one["count"]
WANTED = ("github-token gitlab-token slack-token anthropic-key google-key npm-token aws-key-id stripe-key url-password authorization "
          "named-value argument private-key acme").split()
missing = [rule for rule in WANTED if not noted.get(rule)]
say("entries-say-so", " ".join(missing) if missing else "all")
one = [e for e in events("--kind", "exec", "--agent", AGENT) if PLAIN["argument"] in json.dumps(e["exec"])]
marks = sum(word.count("[redacted:") for e in one for word in [*e["exec"]["argv"], *e["process"]["argv"]])
say("entry-counts", "exactly" if one and marks == sum(r["count"] for e in one for r in e["redacted"]) else f"{marks} {one}")
say("shown-in-short", "yes" if b"redacted github-token \xc3\x97" in everywhere["events-short"] else "no")
say("log", subprocess.run(["aegis", "verify"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode)

# No core, neither into a file nor through a pipe, though its limit were lifted.
with open("/proc/sys/kernel/core_pattern") as file:
    before = file.read()
os.makedirs(f"{OUT}/cores")
with open(f"{OUT}/keep", "w") as file:
    file.write(f"#!/bin/sh\ncat > {OUT}/cores/piped.$1\n")
os.chmod(f"{OUT}/keep", 0o755)
unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def abort(pid):
    resource.prlimit(pid, resource.RLIMIT_CORE, unlimited)
    os.kill(pid, signal.SIGABRT)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                break
        time.sleep(0.1)
    time.sleep(1)
    return len(glob.glob(f"{OUT}/cores/*.{pid}"))


def running():
    for stat in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(stat) as file:
                if file.read() == "aegisd\n":
                    return int(stat.split("/")[2])
        except OSError:
            pass
    return 0


try:
    for name, pattern in (("file", f"{OUT}/cores/core.%p"), ("pipe", f"|{OUT}/keep %p")):
        with open("/proc/sys/kernel/core_pattern", "w") as file:
            file.write(pattern)
        other = subprocess.Popen(["sleep", "60"])
        control = abort(other.pid)
        other.wait()
        say(f"core-by-{name}", f"daemon {abort(running())} other {control}")
        restart()
finally:
    with open("/proc/sys/kernel/core_pattern", "w") as file:
        file.write(before)
shutil.rmtree(RULES)
restart()
shutil.rmtree(OUT)
