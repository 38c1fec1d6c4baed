import os
import socket
import subprocess
from attempt import T, say

READER = "import os, errno\ntry: print(os.read({fd}, 9).decode().strip())\nexcept OSError as e: print(errno.errorcode[e.errno])"
secret = os.dup2(os.open(f"{T}/vault/key", os.O_RDONLY), 41)
pair = socket.socketpair()
plug = os.dup2(pair[0].fileno(), 42)
made = socket.socket()
given = os.dup2(made.fileno(), 43)


def inside(script, *options):
    words = ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], *options, "--", "python3", "-SBc", script]
    return subprocess.run(words, stdout=subprocess.PIPE, pass_fds=(secret, plug, given)).stdout.decode().strip()


say("secret-file", inside(READER.format(fd=41)))
say("passed-on-purpose", inside(READER.format(fd=41), "--pass-fd", "41"))
server = socket.create_server(("127.0.0.1", 9011))
CONNECT = """import errno, socket
s = socket.socket({from_fd})
try: s.connect(("127.0.0.1", 9011)); print("ok")
except OSError as e: print(errno.errorcode[e.errno])"""
say("own-socket", inside(CONNECT.format(from_fd="")))
say("passed-socket", inside(CONNECT.format(from_fd="fileno=43"), "--pass-fd", "43"))
# The listing's own descriptor is in the list.
say("others", inside("import os; print([f for f in os.listdir('/proc/self/fd') if int(f) > 3] or 'none')"))
