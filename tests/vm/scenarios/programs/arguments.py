import os
import shutil
from attempt import AT_EMPTY_PATH, T, output, say, syscall, word

LOADER = "/lib64/ld-linux-x86-64.so.2"
prog, work = f"{T}/prog", f"{T}/work"
tool = f"{prog}/tool"


def tried(name, program, *argv, text="tool ran", own=None):
    """Runs a program under its own short name."""
    try:
        own = os.path.basename(program) if own is None else own
        said = output([own, *argv], executable=program)
        say(name, "ran" if text in said else "refused")
    except OSError as error:
        say(name, word(error))


def in_memory(name):
    import ctypes
    fd = os.memfd_create("anything", 0)
    with open(tool, "rb") as file:
        os.write(fd, file.read())
    pid = os.fork()
    if pid == 0:
        try:
            argv = (ctypes.c_char_p * 4)(b"anything", b"delete", b"namespace", None)
            syscall("execveat", fd, b"", argv, 0, AT_EMPTY_PATH)
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # The tool's own exit code for these arguments.
    say(name, "ran" if code == 42 else word(OSError(code, "")))


def at_every_offset(name):
    """The denied words at each place in a word and across a page's end."""
    ran = 0
    for length in [*range(0, 17), *range(4040, 4097)]:
        try:
            ran += "tool ran" in output(["tool", "x" * length, "delete", "namespace"], executable=tool)
        except PermissionError:
            pass
    say(name, "ran" if ran == 74 else "refused" if ran == 0 else f"{ran}")


many = ["x" * 19] * 5000
tried("denied", tool, "delete", "namespace")
tried("among-others", tool, "-v", "delete", "--all", "namespace", "x")
tried("symlinked", f"{work}/symlinked", "delete", "namespace")
tried("copied", f"{work}/copied-before", "delete", "namespace")
tried("through-the-loader", LOADER, tool, "delete", "namespace")
in_memory("memfd")
tried("script", f"{prog}/deploy", "--prod", text="deploy ran")
tried("interpreter-of-a-script", f"{prog}/interpreted", "namespace")
tried("behind-much", tool, *many, "delete", *many[:100], "namespace")
at_every_offset("at-every-offset")
say("changed-by-another-thread", output([f"{prog}/changing", "argument", tool]).strip())
tried("other-order", tool, "namespace", "delete")
tried("one-of-them", tool, "delete", "pod")
tried("longer-words", tool, "delete", "namespaces", "namespac", "")
tried("as-its-own-name", tool, "namespace", own="delete")
tried("much", tool, *many)
tried("another-program", f"{prog}/changing", "delete", "namespace", text="usage")
tried("script-with-others", f"{prog}/deploy", "--production", text="deploy ran")
tried("loader-with-others", LOADER, tool, "get", "namespace")
