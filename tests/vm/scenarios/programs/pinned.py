import os
import shutil
from attempt import T, output, say, word

LOADER = "/lib64/ld-linux-x86-64.so.2"
work = f"{T}/work"
pinned = f"{work}/pinned"


def tried(name, words, text):
    try:
        say(name, "ran" if text in output(words) else "refused")
    except OSError as error:
        say(name, word(error))


def replace(source):
    """Puts a copy in the place of the pinned program, in one step."""
    shutil.copy(source, f"{work}/next")
    os.rename(f"{work}/next", pinned)


def while_it_runs():
    """A process of its own exchanges the two contents all the time."""
    changer = os.fork()
    if changer == 0:
        while True:
            replace(f"{work}/other")
            replace(f"{work}/good")
    ran = refused = 0
    for _ in range(60):
        try:
            ran += "other ran" in output([pinned])
        except OSError:
            refused += 1
    os.kill(changer, 9)
    os.waitpid(changer, 0)
    replace(f"{work}/good")
    return "ran" if ran else "refused"


tried("as-reviewed", [pinned], "pinned ran")
tried("as-reviewed-elsewhere", [f"{work}/good"], "pinned ran")
with open(pinned, "ab") as file:
    file.write(b"more")
tried("appended-to", [pinned], "pinned ran")
replace(f"{work}/other")
tried("replaced", [pinned], "other ran")
replace(f"{work}/good")
tried("restored", [pinned], "pinned ran")
tried("replaced-elsewhere", [f"{work}/other"], "other ran")
tried("through-the-loader", [LOADER, "/bin/echo", "pinned ran"], "pinned ran")
say("replaced-while-it-runs", while_it_runs())
