"""Plants what it is told to, in everything that an agent can choose: arguments, paths, names, sockets."""
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys

with open(sys.argv[1]) as file:
    told = json.load(file)
T, canary, plain = told["T"], told["canary"], told["plain"]


def tried(call, *args):
    try:
        return call(*args)
    except OSError:
        return None


def true(*words):
    tried(lambda: subprocess.run(["/bin/true", *words], env={**os.environ, "AWS_SECRET_ACCESS_KEY": canary["environment"]}))


true(canary["token"], plain["argument"], "--password", canary["option"], f"DB_PASSWORD={canary['variable']}")
true(f"https://bob:{canary['url']}@host.example/p", f"https://host.example/?access_token={canary['parameter']}&x=1")
true("curl", "-u", f"bob:{canary['pair']}", "-H", f"Authorization: Bearer {canary['header']}")
true("sh", "-c", f"mysql -uroot -p{canary['script']} db; echo {plain['script']}")
true("-----BEGIN OPENSSH PRIVATE KEY-----\n" + canary["pem"] + "\n-----END OPENSSH PRIVATE KEY-----")
# Cut off by the kernel within the secret: 4096 bytes are kept.
true("x" * 4060, canary["cut"])
if canary["own"]:
    true(f"acme:{canary['own']}")

folder = f"{T}/work/{canary['path']}"
tried(os.mkdir, folder)
for name in (f"{folder}/{plain['path']}", f"{folder}/\udcff{plain['bytes']}"):
    tried(lambda: os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600)))
tried(os.rename, f"{folder}/{plain['path']}", f"{T}/work/{canary['target']}")
tried(os.open, f"{T}/vault/{canary['denied']}", os.O_RDONLY)

for address in (f"{T}/vault/{canary['socket']}.sock", f"\0{canary['abstract']}.{plain['abstract']}"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        tried(s.connect, address)
name = f"{canary['dns']}.{plain['dns']}.test"
asked = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    tried(s.sendto, struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + asked + struct.pack(">HH", 1, 1), ("127.0.0.1", 53))

# The name of the process, which the kernel cuts off.
ctypes.CDLL(None).prctl(15, canary["comm"].encode(), 0, 0, 0)
tried(os.open, f"{T}/vault/key", os.O_RDONLY)
if len(sys.argv) > 2 and sys.argv[2] == "wait":
    sys.stdin.readline()
