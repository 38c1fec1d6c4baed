import os
import socket
from attempt import AT_FDCWD, T, attempt, read, syscall

RENAME_EXCHANGE = 2
work = f"{T}/work"


def make(path):
    """Makes a file, and takes it away so that the next try finds the world as it was."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)


def make_folder(path):
    os.mkdir(path)
    os.rmdir(path)


def there_and_back(source, target):
    os.rename(source, target)
    os.rename(target, source)


def exchange(one, two):
    for _ in range(2):
        syscall("renameat2", AT_FDCWD, one.encode(), AT_FDCWD, two.encode(), RENAME_EXCHANGE)


def link(source, target):
    os.link(source, target)
    os.unlink(target)


def symlink(target, path):
    os.symlink(target, path)
    os.unlink(path)


def run(path):
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code > 1:
        raise OSError(code, os.strerror(code))


def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)


attempt("star", read, f"{T}/certs/a.pem")
attempt("star-leading-dot", read, f"{T}/certs/.pem")
attempt("star-other-end", read, f"{T}/certs/b.txt")
attempt("star-below-a-folder", read, f"{T}/certs/deep/c.pem")
attempt("sets", read, f"{T}/sets/a1b")
attempt("sets-outside-range", read, f"{T}/sets/d1b")
attempt("sets-inverted", read, f"{T}/sets/a1x")
attempt("sets-too-short", read, f"{T}/sets/ab")
attempt("braces-first", read, f"{T}/either/one")
attempt("braces-second", read, f"{T}/either/two/t")
attempt("braces-neither", read, f"{T}/either/three")
attempt("braces-second-neither", read, f"{T}/either/two/u")
attempt("component-star", read, f"{T}/homes/x/public/f")
attempt("component-star-other", read, f"{T}/homes/y/private/f")

attempt("deep-env", read, f"{work}/a/.env")
attempt("deep-hook", read, f"{work}/a/b/.git/hooks/pre-commit")
attempt("beside-hooks", read, f"{work}/a/b/.git/config")
attempt("key-here", read, f"{work}/top.key")
attempt("key-deeper", read, f"{work}/a/low.key")

os.makedirs(f"{work}/n1/n2/n3", exist_ok=True)
os.makedirs(f"{work}/n1/.git", exist_ok=True)
attempt("make-env", make, f"{work}/.env")
attempt("make-env-in-new-folders", make, f"{work}/n1/n2/n3/.env")
attempt("make-hook-folder", make_folder, f"{work}/n1/.git/hooks")
attempt("make-key-not-utf-8", make, work.encode() + b"/\xff\xfe.key")
attempt("make-no-key-not-utf-8", make, work.encode() + b"/\xff\xfe.kex")
attempt("make-key-of-the-longest-name", make, f"{work}/{'x' * 251}.key")
attempt("make-key-ending-behind-the-end", make, f"{work}/{'x' * 250}.key1")
os.rmdir(f"{work}/n1/.git")

attempt("move-git-away", there_and_back, f"{work}/a/b/.git", f"{work}/a/b/git")
attempt("move-git-to-git", there_and_back, f"{work}/a/b/.git", f"{work}/n1/.git")
attempt("move-parent-of-git", there_and_back, f"{work}/a/b", f"{work}/n1/b")
attempt("move-lib-out-of-the-glob", there_and_back, f"{work}/lib-1", f"{work}/other")
attempt("move-lib-within-the-glob", there_and_back, f"{work}/lib-1", f"{work}/lib-9")
attempt("exchange-lib", exchange, f"{work}/lib-1", f"{work}/plain")
attempt("become-git", there_and_back, f"{work}/plain", f"{work}/n1/.git")
attempt("become-bin", there_and_back, f"{work}/plain", f"{work}/bin")
attempt("move-file-into-bin", there_and_back, f"{work}/a/copy", f"{work}/a/bin/c2")
attempt("link-as-git", symlink, f"{work}/plain", f"{work}/n1/.git")
os.symlink(f"{work}/plain", f"{work}/n1/link")
attempt("link-becomes-git", there_and_back, f"{work}/n1/link", f"{work}/n1/.git")
os.unlink(f"{work}/n1/link")
attempt("link-elsewhere", symlink, f"{work}/plain", f"{work}/n1/git")

attempt("other-name-of-env", read, f"{work}/a/env-again")
attempt("hard-link-to-env", link, f"{work}/a/.env", f"{work}/a/l")
attempt("through-linked-git", read, f"{work}/sub/.git/hooks/x")
attempt("target-of-matched-link", read, f"{T}/real/target")
attempt("hook-on-the-bind-mount", read, f"{work}/bound/.git/hooks/y")
attempt("hook-where-it-is-mounted-from", read, f"{T}/real/tree/.git/hooks/y")
attempt("beside-hook-on-the-bind-mount", read, f"{work}/bound/free")

attempt("run-good", run, f"{work}/a/bin/good")
attempt("run-bad", run, f"{work}/a/bin/bad-1")
attempt("run-copy-of-bad", run, f"{work}/a/bin/copy")
attempt("run-outside-bin", run, f"{work}/a/copy")
attempt("connect-db", connect, f"{T}/run/db-1.sock")
attempt("connect-other", connect, f"{T}/run/other.sock")
