from work import EXTENT, WORK, does, environment

WHOLE = EXTENT == "whole"

environment["HOME"] = f"{WORK}/home"
cargo = "cargo test --offline --workspace && cargo run -q --offline --bin tool" if WHOLE else "cargo run -q --offline --bin tool"
does("allowed-cargo", "generated 42", "sh", "-c", cargo, cwd=f"{WORK}/rust")
does("allowed-npm-install", "", "npm", "install", "--offline", "--no-audit", "--no-fund", "../library", cwd=f"{WORK}/node")
does("allowed-npm-test", "the library says 7", *(["npm", "test"] if WHOLE else ["node", "test.js"]), cwd=f"{WORK}/node")
does("allowed-pip-wheel", "Successfully built", "python3", "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "-w", f"{WORK}/wheels", f"{WORK}/python")
does("allowed-venv", "", "python3", "-m", "venv", "--without-pip", f"{WORK}/venv")
does("allowed-pip-install", "Successfully installed", "python3", "-m", "pip", f"--python={WORK}/venv/bin/python", "install", "--no-index", f"--find-links={WORK}/wheels", "greeter")
does("allowed-console-script", "greeted", f"{WORK}/venv/bin/greet")
does("allowed-dpkg-buildpackage", "dpkg-deb: building package", "dpkg-buildpackage", "-us", "-uc", "-b", cwd=f"{WORK}/debian/{'tree' if WHOLE else 'tiny'}")
does("allowed-package-contents", "./usr/", "sh", "-c", f"dpkg-deb --contents $(ls {WORK}/debian/*_*.deb | grep -v dbgsym)")
