import os
import signal
import time
from attempt import AT_FDCWD, T, attempt, libc, output, read, say, syscall

RENAME_EXCHANGE = 2
one, other = f"{T}/work/a".encode(), f"{T}/work/b".encode()
libc()
flipper = os.fork()
if flipper == 0:
    while os.getppid() != 1:
        syscall("renameat2", AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
    os._exit(0)
seen, refused = set(), 0
end = time.monotonic() + 5
while time.monotonic() < end and len(seen) < 2 and (refused < 100 or not seen):
    try:
        seen.add(read(one).decode().strip())
    except PermissionError:
        refused += 1
os.kill(flipper, signal.SIGKILL)
os.waitpid(flipper, 0)
say("content-seen", ",".join(sorted(seen)))
say("refused", "sometimes" if refused else "never")
say("content-seen-through-another-thread", output([f"{T}/prog/flip", f"{T}/in/note", f"{T}/vault/key"]).strip())
attempt("allowed-direct", read, f"{T}/in/note")
