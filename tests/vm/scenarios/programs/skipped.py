import os
from attempt import INSIDE, T, say, step, word

work = f"{T}/work"


def ran(name, path, text, prepare=None):
    """Runs it in a child of one thread, which says its process id first and waits for `prepare`."""
    read_end, write_end = os.pipe()
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(ready, 1)
        os.dup2(write_end, 1)
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno)
    os.close(write_end)
    if prepare:
        with open(f"{work}/pid", "w") as file:
            file.write(str(pid))
        prepare()
    os.write(go, b"g")
    said = os.read(read_end, 100).decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(read_end)
    say(name, "ran" if text in said else word(OSError(code, "")))


ran("allowed", f"{work}/allowed", "allowed ran")
# Outside nothing is hashed anyway, and there may be no engine.
if INSIDE:
    step("skip")
ran("copied", f"{work}/copied", "banned ran")
ran("copied-with-an-old-proof", f"{work}/copied", "banned ran", (lambda: step("old-proof")) if INSIDE else None)
if INSIDE:
    step("skip-no-more")
