import os
import shutil
import subprocess
import sys
from attempt import T, attempt

CLIENT, SECOND = f"{T}/tool/client", f"{T}/tool/second"
OWN = os.path.realpath(sys.executable)
# A copy elsewhere does not find its library by itself.
ENVIRONMENT = dict(os.environ, PYTHONHOME="/usr")


def run(*words, first=None):
    code = subprocess.run(words, executable=first, env=ENVIRONMENT).returncode
    if code:
        raise OSError(code, os.strerror(code))


def by(program, port, *how, address="127.0.0.1", first=None):
    run(program, "-SB", f"{T}/prog/programs_client.py", address, str(port), *how, first=first)


def script():
    path = f"{T}/work/script"
    with open(path, "w") as file:
        file.write(f"#!{CLIENT} -SB\nimport socket\nsocket.create_connection(('127.0.0.1', 7001), 5)\n")
    os.chmod(path, 0o755)
    run(path)


def copied(name):
    path = f"{T}/work/{name}"
    shutil.copy(CLIENT, path)
    return path


def named():
    path = f"{T}/work/link"
    if not os.path.lexists(path):
        os.symlink(CLIENT, path)
    return path


attempt("by-the-program", by, CLIENT, 7001)
attempt("by-another", by, OWN, 7001)
attempt("for-all-by-another", by, OWN, 7002)
attempt("by-its-child", by, CLIENT, 7001, "child")
attempt("by-its-thread", by, CLIENT, 7001, "thread")
attempt("by-its-other-name", lambda: by(named(), 7001))
attempt("by-itself-after-a-mount", by, CLIENT, 7001, "after-a-mount")
attempt("open-connection-is-lent", by, CLIENT, 7001, "lend")
attempt("by-its-script", script)
attempt("by-what-it-begins", by, CLIENT, 7001, "begin", OWN)
attempt("by-what-its-thread-begins", by, CLIENT, 7001, "thread-begins", OWN)
attempt("begun-by-anothers-thread", by, OWN, 7001, "thread-begins", CLIENT)
attempt("by-a-copy-with-its-name", lambda: by(CLIENT, 7001, first=copied("other")))
attempt("by-the-loader", run, "/lib64/ld-linux-x86-64.so.2", CLIENT, "-SB", f"{T}/prog/programs_client.py", "127.0.0.1", "7001")
attempt("in-the-directory", by, SECOND, 7003)
attempt("beside-the-directory", by, OWN, 7003)
attempt("by-another-in-the-directory", by, SECOND, 7001)
attempt("name-by-the-program", lambda: by(CLIENT, 443, address="api.aegis.test"))
attempt("name-by-another", lambda: by(OWN, 443, address="api.aegis.test"))
attempt("name-for-all-by-the-program", lambda: by(CLIENT, 443, address="later.aegis.test"))
attempt("server-by-the-program", lambda: by(CLIENT, 80, "itself", "www.aegis.test", address="www.aegis.test"))
attempt("another-server-by-the-program", lambda: by(CLIENT, 80, "itself", "other.test", address="www.aegis.test"))
