import os
import subprocess
from attempt import AGENT_UID, say

work = "/work/scenario"
environment = {**os.environ, "HOME": "/home/agent" if AGENT_UID else "/root", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
               "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}

# The agent's own TMPDIR belongs to who started it; another user takes the project's.
if not os.access(environment.get("TMPDIR", "/tmp"), os.W_OK):
    environment["TMPDIR"] = "/work/tmp"


def does(name, expected, *words, cwd=f"{work}/clone"):
    done = subprocess.run(words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    good = done.returncode == 0 and expected in done.stdout
    if not good:
        print(done.stdout, flush=True)
    say(name, "ok" if good else f"status-{done.returncode}")


does("allowed-git-clone", "", "git", "clone", "-q", f"file://{work}/origin", "clone", cwd=work)
with open(f"{work}/clone/more", "w") as file:
    file.write("more\n")
does("allowed-git-commit", "", "sh", "-c", "git add more && git commit -qm second && git log --oneline | grep -c . | grep -qx 2")
does("allowed-make", "built", "make", "-s", "-j2", "test")
does("allowed-run-what-was-built", "built", "./hello")
does("allowed-pip", "pip ", "python3", "-m", "pip", "--version")
does("allowed-venv", "", "python3", "-m", "venv", "--without-pip", f"{work}/venv")
does("allowed-program-of-the-venv", "/venv", f"{work}/venv/bin/python", "-c", "import sys; print(sys.prefix)")
does("allowed-temporary-file", "kept", "sh", "-c", "f=$(mktemp) && echo kept > $f && cat $f && rm $f")
