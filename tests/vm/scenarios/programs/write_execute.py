import errno
import os
import sys
from attempt import T, output, say

program = f"{T}/prog/write"


def tried(name):
    """Ends with 42 when the code that was made ran, else with the errno."""
    code = os.spawnv(os.P_WAIT, program, [program, name])
    say(name, "ran" if code == 42 else errno.errorcode.get(code, str(code)))


for name in ["mapped-so", "written-then-executable", "both-at-once", "stack", "changed-pages-of-a-file", "own-code"]:
    tried(name)
for name in sys.argv[1:]:
    if name == "library":
        say(name, "ran" if "library" in output(["echo", "library"]) else "refused")
    else:
        tried(name)
