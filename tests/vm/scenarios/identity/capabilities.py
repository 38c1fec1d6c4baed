import os
import socket
import subprocess
from attempt import T, attempt, in_child


def low_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 81))


def own_file():
    with open(f"{T}/work/own", "w") as f:
        f.write("mine")


if os.getuid() == 0:
    attempt("read-of-another", lambda: open(f"{T}/in/owned").close())
    attempt("chown", in_child, lambda: os.chown(f"{T}/work", 65534, 65534) or os.chown(f"{T}/work", 0, 0))
    attempt("another-user", in_child, lambda: os.setuid(65534))
    attempt("low-port", low_port)
user = subprocess.run([f"{T}/in/id", "-u"], capture_output=True, text=True).stdout.strip()
with open(f"{T}/work/user", "w") as f:
    f.write("raised" if user == "65533" else "not raised" if user == str(os.getuid()) else f"neither: {user}")
attempt("allowed-own-file", own_file)
