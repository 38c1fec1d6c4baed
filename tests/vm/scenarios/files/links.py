import os
from attempt import AGENT_UID, AT_EMPTY_PATH, AT_FDCWD, T, attempt, read, syscall

AT_SYMLINK_FOLLOW = 0x400
RENAME_EXCHANGE = 2
key, other, work = f"{T}/vault/key", f"{T}/other/key", f"{T}/work"


def there_and_back(source, target):
    """A rename, undone so that the next try finds the world as it was."""
    os.rename(source, target)
    os.rename(target, source)


def link(source, target):
    os.link(source, target)
    os.unlink(target)


def exchange(one, two):
    for _ in range(2):
        syscall("renameat2", AT_FDCWD, one.encode(), AT_FDCWD, two.encode(), RENAME_EXCHANGE)


def link_descriptor(source, flags, target):
    syscall("linkat", *source, AT_FDCWD, target.encode(), flags)
    os.unlink(target)


attempt("linked-before-load", read, f"{work}/linked-before")
attempt("link-denied", link, key, f"{work}/l1")
attempt("link-would-grant-more", link, other, f"{work}/l2")
attempt("link-unnamed-by-the-policy", link, f"{T}/unnamed/key", f"{work}/l5")
fd = os.open(key, os.O_PATH)
if AGENT_UID == 0:
    attempt("linkat-empty-path", link_descriptor, (fd, b""), AT_EMPTY_PATH, f"{work}/l3")
attempt("linkat-proc-fd", link_descriptor, (AT_FDCWD, f"/proc/self/fd/{fd}".encode()), AT_SYMLINK_FOLLOW, f"{work}/l4")
attempt("rename-denied", there_and_back, key, f"{work}/r1")
attempt("rename-would-grant-more", there_and_back, other, f"{work}/r2")
attempt("rename-exchange", exchange, key, f"{work}/mine")
attempt("rename-exchange-reversed", exchange, f"{work}/mine", key)
attempt("rename-parent", there_and_back, f"{work}/holder", f"{work}/moved")
attempt("rename-near-parent", there_and_back, f"{work}/holder/deep", f"{work}/moved")
attempt("open-after-all", read, f"{work}/holder/deep/key")
attempt("allowed-link", os.link, f"{work}/mine", f"{work}/mine-linked")
attempt("allowed-rename", os.rename, f"{work}/mine-linked", f"{work}/mine-moved")
