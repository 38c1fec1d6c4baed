import json
import os
import shutil
import subprocess
from attempt import T, say

LOG, OUT = "/var/lib/aegis/log", f"{T}/out"


def deny():
    subprocess.run(["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], "--", "cat", "/etc/shadow"],
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def output(*words):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout


def kept(name, *words):
    """What a command prints, in a file."""
    path = f"{OUT}/{name}"
    with open(path, "wb") as file:
        file.write(output(*words))
    return path


def code(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(" ".join(words), done.stdout.decode(errors="replace"), flush=True)
    return str(done.returncode)


def verify(*words):
    return code("aegis-verify", *words)


def events(*more):
    return [json.loads(line) for line in output("aegis", "events", "-o", "json", *more).splitlines()]


def changed(path):
    """A copy with one letter in its longest line another one."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    lines = bytes(content).splitlines(keepends=True)
    at = max(range(len(lines)), key=lambda n: len(lines[n]))
    place = sum(map(len, lines[:at])) + len(lines[at]) // 2
    content[place] = ord("A") if content[place] != ord("A") else ord("B")
    other = f"{path}.changed"
    with open(other, "wb") as file:
        file.write(content)
    return other


def copy(name):
    shutil.copytree(LOG, f"{OUT}/{name}/log")
    return f"{OUT}/{name}/log"


def policy(key, line):
    path = f"{OUT}/policy-{len(os.listdir(OUT))}"
    name = line.split()[1]
    with open(path, "w") as file:
        file.write(f"log {key}\n{line}\nquorum {name}\n")
    return path


os.mkdir(OUT)
with open(f"{LOG}/log.vkey") as file:
    key = file.read().strip()
deny()
denied = [e["seq"] for e in events("--agent", os.environ["AGENT"], "--verdict", "deny")]
receipt = kept("receipt", "aegis", "log", "receipt", str(denied[0]), "--body")
say("receipt", verify("--receipt", receipt, "--key", key))
say("receipt-changed", verify("--receipt", changed(receipt), "--key", key))
say("receipt-asked-for-is-an-entry", "yes" if any("receipt" in json.dumps(e) for e in events("-n", "20")) else "no")

early = kept("early", "aegis", "log", "checkpoint")
back = copy("back")
deny()
proof = kept("proof", "aegis", "log", "prove", early)
say("only-grew", verify("--consistency", proof, "--checkpoint", early, "--key", key))
say("proof-changed", verify("--consistency", changed(proof), "--checkpoint", early, "--key", key))

output("aegis", "log", "export", f"{OUT}/export", "--bodies")
say("export", verify("--export", f"{OUT}/export", "--key", key))
bundle = max((os.path.join(at, f) for at, _, files in os.walk(f"{OUT}/export/tile/entries") for f in files), key=os.path.getsize)
shutil.copy(changed(bundle), bundle)
os.remove(f"{bundle}.changed")
say("export-changed", verify("--export", f"{OUT}/export", "--key", key))

witness = subprocess.Popen(["aegis", "witness", "--log", key, "--state", f"{OUT}/witness", "--name", "w.example/1", "--listen", "127.0.0.1:0"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
try:
    line = witness.stdout.readline().strip()
    trusted = policy(key, line)
    now = copy("now")
    say("witnessed", code("aegis", "log", "witness", "--policy", trusted, "--dir", now))
    say("policy-is-met", verify("--dir", now, "--policy", trusted))
    say("policy-without-witness", verify("--dir", copy("alone"), "--policy", trusted))
    # Yesterday's folder put back whole: every signature in it holds.
    say("rolled-back", code("aegis", "log", "witness", "--policy", trusted, "--dir", back))
finally:
    witness.kill()
    witness.wait()
shutil.rmtree(OUT)
