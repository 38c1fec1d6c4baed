"""What a program does: reaches an address, and exits with the errno of that.

`programs_client.py ADDRESS PORT [HOW [PROGRAM]]`: itself, or as HOW says; PROGRAM is what it begins.
"""

import errno
import os
import socket
import subprocess
import sys
import threading
from attempt import step


def tcp(address, port, said):
    with socket.socket() as s:
        s.settimeout(5)
        s.connect((address, port))
        if said:
            s.sendall(f"GET / HTTP/1.1\r\nHost: {said}\r\n\r\n".encode())
            s.settimeout(2)
            try:
                s.recv(4096)
            except TimeoutError:
                return errno.ETIMEDOUT
    return 0


def udp(address, port):
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.sendto(b"hello", (address, port))
    return 0


def reach(address, port, said=""):
    try:
        if port == 7003:
            return udp(address, port)
        if not address[0].isdigit():
            address = socket.getaddrinfo(address, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
        return tcp(address, port, said)
    except OSError as error:
        return error.errno


def in_thread(call):
    done = []
    thread = threading.Thread(target=lambda: done.append(call()))
    thread.start()
    thread.join()
    return done[0]


def lend():
    """Has another program send over a connection that this one opened."""
    with socket.create_connection(("127.0.0.1", 7001), 5) as s:
        return subprocess.run(["python3", "-SBc", f"import os; os.write({s.fileno()}, b'lent')"], pass_fds=[s.fileno()]).returncode


def in_child(call):
    pid = os.fork()
    if pid == 0:
        os._exit(call())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(address, port, how="itself", more=""):
    own = lambda: reach(address, int(port), more)
    after_a_mount = lambda: own() or step("mount") or own()
    begin = lambda: os.execv(more, [more, "-SB", __file__, address, port])
    ways = {
        "itself": own, "child": lambda: in_child(own), "thread": lambda: in_thread(own),
        "after-a-mount": after_a_mount, "lend": lend, "begin": begin, "thread-begins": lambda: in_thread(begin),
    }
    sys.exit(ways[how]())


if __name__ == "__main__":
    main(*sys.argv[1:])
