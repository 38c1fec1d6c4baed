"""What goes over an agent's sockets: counted, recorded with each connection's end, limited, and held while it is killed.

`traffic.py` is the operator's side, with the servers; `traffic.py WHAT` what runs in the agent.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from attempt import T, attempt, say, word

HOST = "127.0.0.1"
PLAIN, MANY, LIMITED, SLOW, DATAGRAMS = range(9001, 9006)
LIMIT = 200_000
CONNECTIONS = 200
MANIFEST = f"""
version: "1.0"
agent: {{name: sender}}
permissions:
  network:
    allow: [{{cidr: {HOST}, ports: ["{PLAIN}-{DATAGRAMS}"]}}]
    LIMIT
  fs: {{read: ["{T}/prog"]}}
"""


def sender_plain():
    with socket.create_connection((HOST, PLAIN)) as s:
        s.sendall(bytes(100_000))
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
        # tcpi_bytes_sent of struct tcp_info: what was lost on a busy machine, and sent once more, is in it.
        print("sent", *struct.unpack_from("=Q", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), 200), flush=True)


def sender_many():
    all_at_once = [socket.create_connection((HOST, MANY)) for _ in range(CONNECTIONS)]
    for s in all_at_once:
        s.sendall(b"x" * 10)
        s.shutdown(socket.SHUT_WR)
    for s in all_at_once:
        while s.recv(65536):
            pass


def sender_limited():
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    attempt("allowed-datagram", u.sendto, b"x" * 100, (HOST, DATAGRAMS))
    s = socket.create_connection((HOST, LIMITED))
    try:
        while True:
            s.sendall(bytes(10_000))
    except OSError as error:
        say("too-much", word(error))
    attempt("write-after-it", os.write, s.fileno(), b"x")
    attempt("connect-after-it", socket.create_connection, (HOST, LIMITED))
    attempt("datagram-after-it", u.sendto, b"x", (HOST, DATAGRAMS))


def sender_slow():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    s.connect((HOST, SLOW))
    print("ready", flush=True)
    while True:
        s.sendall(bytes(100_000))


class Server(threading.Thread):
    """Takes connections, counts what comes and answers some bytes at the end of each."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.listener = socket.create_server((HOST, port), backlog=500)
        self.got = 0
        self.start()

    def run(self):
        while True:
            s = self.listener.accept()[0]
            with s:
                while data := s.recv(65536):
                    self.got += len(data)
                try:
                    s.sendall(bytes(5_000))
                except OSError:
                    pass


def command(what, limit=""):
    path = f"{T}/{what}.yaml"
    with open(path, "w") as file:
        file.write(MANIFEST.replace("LIMIT", limit))
    return ["aegis", "run", "--policy", path, "--name", os.environ["AGENT"], "--", sys.executable, "-SB", __file__, what]


def run(what, limit=""):
    """Runs an agent to its end; what the log has of its connections' ends and its own end, and what it said."""
    done = subprocess.run(command(what, limit), stdout=subprocess.PIPE)
    said = done.stdout.decode()
    sys.stdout.write(said)
    events = events_of(os.environ["AGENT"])
    closed = [e for e in events if e.get("network", {}).get("op") == "close"]
    ended = [e["agent_state"] for e in events if e.get("agent_state", {}).get("state") == "ended"]
    return closed, ended[-1], said


def events_of(agent):
    out = subprocess.run(["aegis", "events", "-o", "json", "--agent", agent], stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def within(number, least, most):
    return "within" if least <= number <= most else str(number)


def until_silence(s, wait):
    got = 0
    s.settimeout(wait)
    until = time.monotonic() + 10
    try:
        while (data := s.recv(65536)) and time.monotonic() < until:
            got += len(data)
            s.settimeout(0.7)
    except TimeoutError:
        pass
    return got


def counted():
    Server(PLAIN)
    closed, ended, said = run("plain")
    if not closed:
        return
    event = closed[0]
    traffic = event["network"]["traffic"]
    sent = int(said.split()[1])
    say("connection-sent", within(traffic["bytes_out"], sent + 40 * traffic["packets_out"], sent + 80 * traffic["packets_out"]) if sent >= 100_000 else said)
    say("connection-received", within(traffic["bytes_in"], 5_000 + 40 * traffic["packets_in"], 5_000 + 80 * traffic["packets_in"]))
    say("connection-began-before", str(event["network"]["start_time"] < event["time"]))
    say("agent-sent-the-same", str(ended["usage"]["traffic"] == traffic))


def complete():
    Server(MANY)
    closed, ended, _ = run("many")
    closed = [e for e in closed if e["network"]["port"] == MANY]
    usage = ended["usage"]
    told, untold, still = len(closed), usage.get("connections_untold", 0), usage.get("connections_open", 0)
    say("ends", f"{told + untold}+{still}")
    say("ends-told", within(told, 64, CONNECTIONS - 1))


def limited():
    server = Server(LIMITED)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind((HOST, DATAGRAMS))
    _, ended, _ = run("limited", f"max_bytes_out: {LIMIT}B")
    say("server-got", within(server.got, LIMIT // 5, LIMIT))
    say("agent-sent", within(ended["usage"]["traffic"]["bytes_out"], LIMIT // 5, LIMIT))
    say("refusals-are-counted", str(ended["usage"].get("packets_refused", 0) > 0))


def held():
    agent = os.environ["AGENT"]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, SLOW))
    listener.listen()
    ran = subprocess.Popen(command("slow"), stdout=subprocess.PIPE)
    try:
        ran.stdout.readline()
        s = listener.accept()[0]
        time.sleep(1)
        say("kill", str(subprocess.run(["aegis", "kill", agent, "--reason", "test"], stdout=subprocess.DEVNULL).returncode))
        after_kill = until_silence(s, 1)
        say("kept-back-while-killed", within(after_kill, 0, 100_000))
        say("thaw", str(subprocess.run(["aegis", "thaw", agent, "--reason", "test"], stdout=subprocess.DEVNULL).returncode))
        say("comes-after-thaw", within(until_silence(s, 20), 200_000, 1 << 40))
    finally:
        ran.send_signal(signal.SIGTERM)
        ran.wait()


if __name__ == "__main__":
    if sys.argv[1:]:
        {"plain": sender_plain, "many": sender_many, "limited": sender_limited, "slow": sender_slow}[sys.argv[1]]()
    else:
        counted()
        complete()
        limited()
        held()
