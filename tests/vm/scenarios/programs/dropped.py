import ctypes
import os
import sys
from attempt import T, attempt, output, say, syscall, word

PROT_READ, PROT_EXEC, MAP_PRIVATE = 1, 4, 2
work, prog = f"{T}/work", f"{T}/prog"


def tried(name, words, text, **variables):
    try:
        said = output(words, env={**os.environ, **variables})
        say(name, text.split()[-1] if text in said else "refused")
    except OSError as error:
        say(name, word(error))


def loaded(path):
    """dlopen gives no errno, only words."""
    try:
        ctypes.CDLL(path)
        return "ran"
    except OSError:
        return "refused"


def made_executable(path):
    """Mapped for reading, then turned into code."""
    fd = os.open(path, os.O_RDONLY)
    where = syscall("mmap", 0, 4096, PROT_READ, MAP_PRIVATE, fd, 0)
    syscall("mprotect", where, 4096, PROT_READ | PROT_EXEC)


tried("program", [f"{work}/program"], "program ran")
tried("shebang", [f"{work}/script"], "script ran")
tried("dropped-interpreter", [f"{prog}/interpreted"], "program ran")
tried("preloaded", ["/usr/bin/true"], "library ran", LD_PRELOAD=f"{work}/evil.so")
tried("audit-library", ["/usr/bin/true"], "library ran", LD_AUDIT=f"{work}/audit.so")
say("dlopen", loaded(f"{work}/evil.so"))
attempt("mapped-then-executable", made_executable, f"{work}/evil.so")
tried("script-handed-to-sh", ["sh", f"{work}/reads-key.sh"], "key\n")
tried("python-c", [sys.executable, "-SBc", f"print(open('{T}/vault/key').read())"], "key\n")
tried("nested-shell-pipeline", ["bash", "-c", f"bash -c 'cat {T}/vault/key' | tr k k | cat"], "key\n")
tried("allowed-script", [f"{prog}/script"], "script ran")
attempt("allowed-mapped-then-executable", made_executable, f"{prog}/evil.so")
say("allowed-library", loaded(f"{prog}/evil.so"))
