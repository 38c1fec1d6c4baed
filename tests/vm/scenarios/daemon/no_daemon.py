import os
import subprocess
import time
from attempt import T, say, step


def aegis(*words):
    return subprocess.run(["aegis", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


step("@daemon-kill")
say("nobody-answers", aegis("status").returncode)
done = aegis("run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], "--", "cat", "/etc/shadow")
say("status", done.returncode)
said = [l for l in done.stderr.splitlines() if l.startswith("cat:")]
say("message", said[0] if said else repr(done.stderr))
deadline = time.monotonic() + 30
while aegis("status").returncode == 0 and time.monotonic() < deadline:
    time.sleep(0.2)
say("engine-afterwards", "gone" if aegis("status").returncode == 3 else "there")
say("log", aegis("verify").returncode)
