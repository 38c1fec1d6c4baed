"""The tests of Python's own library."""

import subprocess
import xml.etree.ElementTree as ElementTree
from suites import compare
from work import EXTENT, WORK, environment

MODULES = ["test_glob", "test_tempfile", "test_file", "test_fileio", "test_fcntl", "test_fnmatch", "test_mmap", "test_os", "test_pathlib", "test_posix", "test_posixpath", "test_py_compile",
           "test_shutil", "test_stat", "test_subprocess", "test_tarfile", "test_zipfile"]
# By test case: what it does that policies/coding-agent.yaml does not allow.
WITHHELD = {
    f"None.test.{test}": why
    for why, tests in {
        "lists /": ["test_os.Pep383Tests.test_listdir"],
        "listens": [f"test_os.TestSendfile.test_{name}" for name in ("invalid_offset", "keywords", "offset_overflow", "send_at_certain_offset", "send_whole_file")],
        "sets an attribute of the kernel's": [f"test_shutil.TestCopy.test_{name}" for name in ("copy2_xattr", "copyxattr", "copyxattr_symlinks")],
        "writes to the library": [f"test_zipfile.PyZipFileTests.test_write_{name}" for name in ("filtered_python_package", "pyfile", "python_package", "with_optimization")],
    }.items()
    for test in tests
}

chosen = MODULES[: {"whole": None, "tenth": 2}.get(EXTENT, 1)]
report = f"{WORK}/report.xml"
subprocess.run(["python3", "-m", "test", "--junit-xml", report, *chosen], cwd=WORK, env={**environment, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
results = {}
for case in ElementTree.parse(report).iter("testcase"):
    inner = {child.tag for child in case}
    word = "failed" if inner & {"failure", "error"} else "skipped" if "skipped" in inner else "ok"
    results[f"{case.get('classname')}.{case.get('name')}"] = word
compare("python", results, 2000 if EXTENT == "whole" else 10, WITHHELD)
