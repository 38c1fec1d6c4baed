from attempt import AGENT_UID, T, attempt, ran


def register():
    with open("/proc/sys/fs/binfmt_misc/register", "w") as file:
        file.write(f":aegis-own:M::AEGISTRY9::{T}/prog/allowed:")


ran("allowed", f"{T}/work/by-1")
ran("banned-interpreter", f"{T}/work/by-2")
ran("opened-at-registration", f"{T}/work/by-3")
ran("by-extension", f"{T}/work/by.aegistry")
ran("file-that-may-not-run", f"{T}/elsewhere/by-1")
if not AGENT_UID:
    attempt("register", register)
