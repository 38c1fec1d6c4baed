import errno
import os
import time
from attempt import INSIDE, T, attempt, read, say, step


def warm(path):
    """Opens a file that may be opened, often enough that it is remembered."""
    for _ in range(4):
        read(f"{T}/{path}")


def expect(path, content):
    """A file that may be opened and has this content."""
    found = read(f"{T}/{path}").decode().strip()
    if found != content:
        raise OSError(errno.EBADMSG, found)


warm("work/file")
held = os.open(f"{T}/work/file", os.O_PATH)
step("rename")
attempt("renamed", read, f"{T}/vault/file")
attempt("descriptor-of-the-renamed", read, f"/proc/self/fd/{held}")

warm("work/back")
step("there")
attempt("renamed-there", read, f"{T}/vault/back")
step("back")
attempt("allowed-renamed-back", read, f"{T}/work/back")

warm("work/folder/below/file")
held = os.open(f"{T}/work/folder/below", os.O_PATH)
step("folder")
attempt("folder-renamed", read, f"{T}/vault/folder/below/file")
attempt("below-a-descriptor-of-the-folder", read, "file", os.O_RDONLY, held)

warm("work/one")
step("exchange")
attempt("exchanged", read, f"{T}/vault/one")
attempt("allowed-exchanged", expect, "work/one", "key")

warm("work/linked")
step("link")
attempt("linked", read, f"{T}/vault/linked")
warm("work/linked")
step("unlink")
attempt("first-name-removed", read, f"{T}/vault/linked")

warm("work/evicted")
step("evict")
attempt("evicted", read, f"{T}/vault/evicted")

warm("work/same")
step("same")
attempt("renamed-in-its-folder", read, f"{T}/work/denied")

warm("in/shown")
attempt("for-writing", read, f"{T}/in/shown", os.O_RDWR)
warm("work/program")
if os.fork() == 0:
    try:
        os.execv(f"{T}/work/program", ["program"])
    except OSError as error:
        # Outside it is a text that begins with no interpreter.
        say("as-a-program", "ok" if error.errno == errno.ENOEXEC else errno.errorcode[error.errno])
    os._exit(0)
os.wait()

warm("work/replaced")
step("replace")
attempt("allowed-replaced", expect, "work/replaced", "key")
warm("work/own")
os.rename(f"{T}/work/own", f"{T}/work/renamed")
attempt("allowed-renamed-by-the-agent", read, f"{T}/work/renamed")

warm("work/place/file")
step("mount")
# The policy follows the mounts soon after they have settled; the file is kept in memory meanwhile.
end = time.monotonic() + (60 if INSIDE else 0)
while time.monotonic() < end:
    try:
        read(f"{T}/work/place/file")
    except PermissionError:
        break
    time.sleep(0.05)
attempt("denied-by-a-new-mount", read, f"{T}/work/place/file")
