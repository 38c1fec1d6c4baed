"""The tests of coreutils, run against the installed programs."""

import os
import pathlib
import subprocess
from suites import compare
from work import EXTENT, WORK, environment

TREE = pathlib.Path("/usr/src/coreutils/tree")
FOLDERS = ["chmod", "cp", "install", "ln", "mkdir", "mv", "readlink", "rm", "rmdir", "touch"]
# They wait for a race or measure time: the result is not the same twice outside either.
FICKLE = {"cp/sparse-perf.sh", "cp/file-perm-race.sh", "cp/parent-perm-race.sh", "cp/existing-perm-race.sh", "cp/nfs-removal-race.sh", "rm/many-dir-entries-vs-OOM.sh", "rm/ext3-perf.sh"}
# No agent mounts, and names deeper than 64 are refused.
WITHHELD = {"cp/cross-dev-symlink.sh": "mounts", "rm/one-file-system.sh": "mounts", "rm/read-only.sh": "mounts", "rm/deep-1.sh": "names deeper than 64"}

tests = [f"{folder}/{path.name}" for folder in FOLDERS for path in sorted((TREE / "tests" / folder).iterdir()) if path.suffix in (".sh", ".pl")]
tests = [test for test in tests if test not in FICKLE]
build = pathlib.Path(WORK) / "build"
(build / "src").mkdir(parents=True)
variables = {**environment, "srcdir": str(TREE), "top_srcdir": str(TREE), "abs_srcdir": str(TREE), "abs_top_srcdir": str(TREE), "abs_top_builddir": str(build), "VERSION": "9.1",
             "PACKAGE_VERSION": "9.1", "CONFIG_HEADER": "/dev/null", "built_programs": " ".join(os.listdir("/usr/bin")), "fail": "0", "host_os": "linux-gnu", "host_triplet": "x86_64-pc-linux-gnu",
             "AWK": "awk", "EGREP": "grep -E", "PERL": "perl", "SHELL": "/bin/sh", "LC_ALL": "C", "LANGUAGE": "C", "CC": "gcc", "TMPDIR": str(build)}
WORDS = {0: "ok", 77: "skipped"}


def run(test):
    path = TREE / "tests" / test
    if path.suffix == ".pl":
        words = ["perl", "-w", f"-I{TREE}/tests", "-MCoreutils", "-MCuSkip", f"-MCuTmpdir qw({test})", str(path)]
    else:
        words = ["sh", str(path)]
    done = subprocess.run(words, cwd=build, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return WORDS.get(done.returncode, f"status-{done.returncode}")


chosen = tests[:: {"whole": 1, "tenth": 10}.get(EXTENT, 40)]
compare("coreutils", {test: run(test) for test in chosen}, len(chosen) // 2, WITHHELD)
