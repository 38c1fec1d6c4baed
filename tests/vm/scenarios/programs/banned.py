import os
import shutil
import subprocess
from attempt import AT_EMPTY_PATH, T, output, say, syscall, word

LOADER = "/lib64/ld-linux-x86-64.so.2"
work = f"{T}/work"


def ran(words, text="banned ran"):
    """`ran` when the program's own text came out."""
    return "ran" if text in output(words) else "refused"


def tried(name, call):
    try:
        say(name, call())
    except OSError as error:
        say(name, word(error))


def copied(source, target):
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)
    return target


def moved(target):
    """Runs it under a new name and gives the old one back."""
    os.rename(f"{work}/banned", target)
    try:
        return ran([target])
    finally:
        os.rename(target, f"{work}/banned")


def linked(target):
    os.link(f"{work}/banned", target)
    return ran([target])


def in_memory(source, text):
    fd = os.memfd_create("anything", 0)
    with open(source, "rb") as file:
        os.write(fd, file.read())
    return ran_fd(fd, text)


def ran_fd(fd, text):
    """Runs an open file; raises what starting it raised."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(write_end, 1)
            arguments = (__import__("ctypes").c_char_p * 2)(b"anything", None)
            syscall("execveat", fd, b"", arguments, 0, AT_EMPTY_PATH)
        except OSError as error:
            code = error.errno
        os._exit(code)
    os.close(write_end)
    said = os.read(read_end, 100).decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if text in said:
        return "ran"
    raise OSError(code, os.strerror(code))


def unnamed(source, text):
    """A file that never had a name."""
    writer = os.open(work, os.O_TMPFILE | os.O_RDWR, 0o755)
    with open(source, "rb") as file:
        os.write(writer, file.read())
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY)
    os.close(writer)
    return ran_fd(reader, text)


# The copies are made from the build in prog, which may be read; the banned file itself may be, too.
tried("itself", lambda: ran([f"{work}/banned"]))
tried("symlinked", lambda: ran([f"{work}/symlinked"]))
tried("linked-before-load", lambda: ran([f"{work}/linked-before"]))
tried("copied", lambda: ran([copied(f"{T}/prog/banned-program", f"{work}/copied")]))
tried("renamed", lambda: moved(f"{work}/renamed"))
tried("hard-linked", lambda: linked(f"{work}/linked"))
tried("through-the-loader", lambda: ran([LOADER, f"{work}/banned"]))
tried("copy-through-the-loader", lambda: ran([LOADER, copied(f"{T}/prog/banned-program", f"{work}/loaded")]))
tried("nested-pipeline", lambda: ran(["bash", "-c", f"true | bash -c '{work}/banned | cat' | cat"]))
tried("memfd", lambda: in_memory(f"{T}/prog/banned-program", "banned ran"))
tried("allowed-in-memfd", lambda: in_memory(f"{T}/prog/allowed-program", "allowed ran"))
tried("never-named", lambda: unnamed(f"{T}/prog/allowed-program", "allowed ran"))
tried("deleted-and-run-again", lambda: subprocess.run([f"{work}/again"], stdout=subprocess.PIPE).stdout.decode().strip())
tried("allowed", lambda: ran([f"{work}/allowed"], "allowed ran"))
tried("allowed-copy", lambda: ran([copied(f"{T}/prog/allowed-program", f"{work}/allowed-copy")], "allowed ran"))
