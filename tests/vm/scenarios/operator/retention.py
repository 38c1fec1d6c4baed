import json
import os
import random
import shutil
import signal
import subprocess
import time
from attempt import T, say

OUT = f"{T}/out"
LOG = f"{OUT}/state/log"
# It has nowhere to pin programs: the machine's own engine goes on governing alone.
DAEMON = ["aegisd", "--run-dir", f"{OUT}/run", "--state-dir", f"{OUT}/state", "--pin-dir", f"{OUT}/no-bpffs",
          "--config-dir", f"{OUT}/etc"]
WORD = "long-forgotten-incident-4711"
# A clock set back by more than a minute begins a segment.
BACK = 120


def noise():
    # What is encrypted is compressed: this takes room all the same.
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz ", k=440))


def configure(more):
    os.makedirs(f"{OUT}/etc", exist_ok=True)
    os.chmod(OUT, 0o755)
    path = f"{OUT}/etc/aegis.yaml"
    with open(path + ".new", "w") as file:
        file.write(f'version: "1.0"\naudit: {{retention: {{age: forever, size: 6kB}}{more}}}\n')
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


def aegis(*words):
    done = subprocess.run(["aegis", "--socket", f"{OUT}/run/aegisd.sock", *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    print(words, done.returncode, done.stdout[-400:], done.stderr[-400:], flush=True)
    return done


def start():
    daemon = subprocess.Popen(DAEMON, stdin=subprocess.DEVNULL, stdout=open(f"{OUT}/messages", "ab"), stderr=subprocess.STDOUT)
    for _ in range(240):
        if daemon.poll() is None and aegis("status").returncode in (0, 1):
            return daemon
        time.sleep(0.5)
    raise SystemExit(open(f"{OUT}/messages").read())


def set_clock(by):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + by)


def segments():
    return sorted(name for name in os.listdir(LOG) if name.endswith(".seg"))


def wait_for(what, seconds):
    for _ in range(seconds * 5):
        if what():
            return True
        time.sleep(0.2)
    return False


def log():
    return [json.loads(line) for line in aegis("events", "-o", "json").stdout.splitlines()]


def verdict(name, *words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    print(done.stdout, done.stderr, flush=True)
    said = [word for word in ("INTACT", "TAMPERED") if word in done.stdout]
    say(name, " ".join([str(done.returncode), *said, *["removed"] * ("removed by retention" in done.stdout)]))


def starts_with(name, first):
    found = log()
    say(name, "from-the-first-kept" if found[0]["seq"] == first else f"from-{found[0]['seq']}")
    return found


configure(", hold: case 4711")
daemon = start()
for _ in range(12):
    aegis("events", "-n", "1", "--reason", f"{WORD} {noise()}")
with open(f"{OUT}/early.note", "w") as file:
    file.write(aegis("log", "checkpoint").stdout)
for _ in range(2):
    set_clock(-BACK)
    for _ in range(12):
        aegis("events", "-n", "1", "--reason", noise())
before = segments()
print(before, flush=True)
# It looks every fifteen seconds.
time.sleep(32)
states = {entry["daemon"]["state"] for entry in log() if "daemon" in entry}
say("held", "all-there" if segments() == before and len(before) == 3 else f"{segments()}")
configure("")
gone = wait_for(lambda: before[0] not in segments(), 60)
say("removed", "first-segment" if gone and segments()[-1] == before[-1] else f"{segments()}")
# Where the next one goes as well, it does so now.
wait_for(lambda: segments() == before[2:], 30)
first = int(segments()[0].split("-")[0])
wait_for(lambda: any(entry.get("daemon", {}).get("state") == "retention" for entry in log()), 10)
found = starts_with("read", first)
states |= {entry["daemon"]["state"] for entry in found if "daemon" in entry}
say("said", " ".join(sorted(states & {"hold", "hold_released", "retention"})))
left = subprocess.run(["grep", "-rlF", WORD, f"{OUT}/state"], stdout=subprocess.PIPE, text=True).stdout
say("words-of-what-was-removed", "in-no-file" if not left else left.split()[0])
verdict("verified", "aegis", "verify", "--dir", LOG)
verdict("against-a-checkpoint-of-what-was-removed", "aegis-verify", "--dir", LOG, "--checkpoint", f"{OUT}/early.note")
say("receipt-of-what-is-kept", aegis("log", "receipt", str(first)).returncode)
refused = aegis("log", "receipt", "1")
say("receipt-of-what-was-removed", f"{refused.returncode}{' removed' * ('removed by retention' in refused.stderr)}")
subprocess.run(["aegis", "log", "export", "--dir", LOG, f"{OUT}/export"], check=True, stdout=subprocess.DEVNULL)
verdict("exported", "aegis-verify", "--export", f"{OUT}/export")
shutil.copytree(LOG, f"{OUT}/copy")
os.unlink(f"{OUT}/copy/log.pruned")
verdict("without-the-statement", "aegis-verify", "--dir", f"{OUT}/copy")
daemon.send_signal(signal.SIGKILL)
daemon.wait()
daemon = start()
starts_with("after-a-kill", first)
verdict("verified-after-a-kill", "aegis", "verify", "--dir", LOG)
daemon.terminate()
daemon.wait()
set_clock(2 * BACK)
