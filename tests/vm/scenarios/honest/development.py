from work import WORK, does

CLONE = f"{WORK}/clone"
does("allowed-git-clone", "", "git", "clone", "-q", f"file://{WORK}/origin", "clone")
with open(f"{CLONE}/more", "w") as file:
    file.write("more\n")
does("allowed-git-commit", "", "sh", "-c", "git add more && git commit -qm second && git log --oneline | grep -c . | grep -qx 2", cwd=CLONE)
does("allowed-make", "built", "make", "-s", "-j2", "test", cwd=CLONE)
does("allowed-run-what-was-built", "built", "./hello", cwd=CLONE)
does("allowed-pip", "pip ", "python3", "-m", "pip", "--version")
does("allowed-venv", "", "python3", "-m", "venv", "--without-pip", f"{WORK}/venv")
does("allowed-program-of-the-venv", "/venv", f"{WORK}/venv/bin/python", "-c", "import sys; print(sys.prefix)")
does("allowed-temporary-file", "kept", "sh", "-c", "f=$(mktemp) && echo kept > $f && cat $f && rm $f")
