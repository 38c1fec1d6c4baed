"""An agent that listens is killed: nobody reaches it any more, and after `aegis thaw` everybody does."""

import os
import signal
import socket
import subprocess
import sys
from attempt import T, attempt, say

PORT = 3000
MANIFEST = f"""
version: "1.0"
agent: {{name: listener}}
permissions:
  network: {{listen: [{{address: 127.0.0.1, port: {PORT}}}]}}
  fs: {{read: ["{T}/prog"]}}
"""


def reach():
    """To the kernel's answer: the agent itself need not take the connection."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=3):
        pass


def inside():
    with socket.create_server(("127.0.0.1", PORT), backlog=50) as s:
        print("ready", flush=True)
        s.settimeout(None)
        while True:
            s.accept()[0].close()


def main():
    agent = os.environ["AGENT"]
    with open(f"{T}/listener.yaml", "w") as file:
        file.write(MANIFEST)
    command = ["aegis", "run", "--policy", f"{T}/listener.yaml", "--name", agent, "--", sys.executable, "-SB", __file__, "inside"]
    ran = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        if ran.stdout.readline() != b"ready\n":
            sys.exit("the agent does not listen")
        attempt("allowed-before", reach)
        say("kill", str(subprocess.run(["aegis", "kill", agent, "--reason", "test"], stdout=subprocess.DEVNULL).returncode))
        try:
            reach()
            say("after-kill", "reached")
        except TimeoutError:
            say("after-kill", "silence")
        say("thaw", str(subprocess.run(["aegis", "thaw", agent, "--reason", "test"], stdout=subprocess.DEVNULL).returncode))
        attempt("allowed-after-thaw", reach)
    finally:
        ran.send_signal(signal.SIGTERM)
        ran.wait()


if __name__ == "__main__":
    inside() if sys.argv[1:] == ["inside"] else main()
