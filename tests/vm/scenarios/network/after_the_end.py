"""A connection that was refused outlives its agent: what it could not say then is not said afterwards either.

`after_the_end.py` is the operator's side, after `names_net.py up`; `after_the_end.py NAME` what runs in the agent.
"""

import os
import socket
import subprocess
import sys
import time
from attempt import T, say
from server_names import API, connect, hello

ETH_P_ALL = 3
MANIFEST = f"""
version: "1.0"
agent: {{name: gone}}
permissions:
  network: {{allow: ["{API}"]}}
  fs: {{read: ["{T}/prog"]}}
"""


def sniffed(needle, seconds, start):
    """Whether it passes any interface of the host, from before `start` on."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as s:
        ran = start()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            s.settimeout(left)
            try:
                if needle in s.recv(65536):
                    return ran, "left"
            except TimeoutError:
                break
        return ran, "nothing"


def main():
    with open(f"{T}/gone.yaml", "w") as file:
        file.write(MANIFEST)
    for name, server, seconds in (("allowed-name", API, 5), ("another-name", "other.test", 12)):
        command = ["aegis", "run", "--policy", f"{T}/gone.yaml", "--name", os.environ["AGENT"], "--", sys.executable, "-SB", __file__, server]
        ran, seen = sniffed(server.encode(), seconds, lambda: subprocess.run(command).returncode)
        say(name, seen if ran == 0 else f"status-{ran}")


if __name__ == "__main__":
    if sys.argv[1:]:
        # Ends with the words on their way.
        connect(API, 443).send(hello(sys.argv[1]))
        os._exit(0)
    main()
