import os
import subprocess
import time
from attempt import T, say

MANIFEST = 'version: "1.0"\nagent: {{name: scenario}}\npermissions:\n  fs: {{read: ["{T}/prog"], write: ["{T}/work"]}}\n  {limit}\n'
FORKS = """
import os, time
made = 0
for _ in range(60):
    try:
        if os.fork() == 0:
            time.sleep(5); os._exit(0)
        made += 1
    except BlockingIOError:
        pass
print(made, flush=True)
os.kill(0, 9)
"""


def run(limit, *words):
    path = f"{T}/limit.yaml"
    with open(path, "w") as file:
        file.write(MANIFEST.format(T=T, limit=limit))
    begun = time.monotonic()
    done = subprocess.run(["aegis", "run", "--policy", path, "--name", os.environ["AGENT"], "--", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode().strip(), time.monotonic() - begun, done.stderr.decode()


status, _, took, said = run("execution_time: 2s", "sleep", "60")
say("execution-time", "ended-in-time" if status != 0 and took < 20 else f"{status} {took} {said}")
status, out, _, said = run("memory: 64MB", "python3", "-SBc", "b = bytearray(300_000_000); print('allocated')")
say("memory", "contained" if status != 0 and "allocated" not in out else f"{status} {out} {said}")
status, out, _, said = run("pids: 20", "python3", "-SBc", FORKS)
say("pids", "contained" if out and int(out) < 20 else f"{status} {out!r} {said}")
spin = "import time\nend = time.monotonic() + 3\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
status, out, _, said = run("cpu_quota: 0.2", "python3", "-SBc", spin)
say("cpu", "contained" if status == 0 and float(out) < 1.5 else f"{status} {out!r} {said}")
say("allowed-without-limits", run("pids: 100", "true")[0])
