"""Makes odd paths in `vault` (denied) and `work` (allowed), or opens them."""

import os
import sys

T = os.environ["T"]
STRANGE = {"no-utf-8": b"\xff\xfe\x80x", "line-end": b"two\nlines", "terminal-escape": b"\x1b[31mred\x1b]0;title\x07"}
CHAINS = {
    "over-200-bytes": [b"a" * 60] * 5,
    "over-4096-bytes": [b"b" * 250] * 18,
    "over-20-components": [b"c"] * 25,
    "over-64-components": [b"d"] * 70,
    "over-96-components": [b"e"] * 110,
}


def descend(top, chain, make):
    """The descriptor of the last folder; paths this long can't be passed to open at once."""
    fd = os.open(top, os.O_PATH)
    for name in chain:
        if make:
            os.mkdir(name, 0o755, dir_fd=fd)
        below = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def make():
    for top in (f"{T}/vault", f"{T}/work"):
        for chain in CHAINS.values():
            fd = descend(top, chain, True)
            os.close(os.open(b"key", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
        for name in STRANGE.values():
            with open(top.encode() + b"/" + name, "wb") as file:
                file.write(b"key")


def strange_in_work():
    for name in STRANGE.values():
        with open(f"{T}/work".encode() + b"/" + name, "rb+") as file:
            file.write(b"mine")


def main():
    from attempt import attempt, read
    for name, chain in CHAINS.items():
        attempt(name, lambda: read(b"key", dir_fd=descend(f"{T}/vault", chain, False)))
    for name, odd in STRANGE.items():
        attempt(name, read, f"{T}/vault".encode() + b"/" + odd)
    for name in ("over-200-bytes", "over-4096-bytes", "over-20-components"):
        attempt(f"allowed-{name}", lambda: read(b"key", dir_fd=descend(f"{T}/work", CHAINS[name], False)))
    attempt("deep-but-below-an-allowed-folder", lambda: read(b"key", dir_fd=descend(f"{T}/work", CHAINS["over-64-components"], False)))
    attempt("allowed-strange-names", strange_in_work)


make() if sys.argv[1:] == ["make"] else main()
