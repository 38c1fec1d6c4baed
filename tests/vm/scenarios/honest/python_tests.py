"""The tests of Python's own library."""

import subprocess
import xml.etree.ElementTree as ElementTree
from suites import compare
from work import EXTENT, WORK, environment

MODULES = ["test_glob", "test_tempfile", "test_file", "test_fileio", "test_fcntl", "test_fnmatch", "test_mmap", "test_os", "test_pathlib", "test_posix", "test_posixpath", "test_py_compile",
           "test_shutil", "test_stat", "test_subprocess", "test_tarfile", "test_zipfile"]

chosen = MODULES[: {"whole": None, "tenth": 2}.get(EXTENT, 1)]
report = f"{WORK}/report.xml"
subprocess.run(["python3", "-m", "test", "--junit-xml", report, *chosen], cwd=WORK, env={**environment, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
results = {}
for case in ElementTree.parse(report).iter("testcase"):
    inner = {child.tag for child in case}
    word = "failed" if inner & {"failure", "error"} else "skipped" if "skipped" in inner else "ok"
    results[f"{case.get('classname')}.{case.get('name')}"] = word
compare("python", results, 2000 if EXTENT == "whole" else 10)
