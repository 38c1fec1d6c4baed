import os
from attempt import AGENT_UID, T, attempt, read

attempt("plain", read, f"{T}/vault/key")
attempt("deny-rule", read, f"{T}/work/secret/key")
attempt("symlink", read, f"{T}/work/link")
attempt("symlinked-folder", read, f"{T}/work/folder/key")
attempt("symlinked-folder-dotdot", read, f"{T}/work/folder/../vault/key")
attempt("dotdot", read, f"{T}/in/../work/./../vault/key")
attempt("proc-self-root", read, f"/proc/self/root{T}/vault/key")
os.chdir(f"{T}/vault")
attempt("proc-self-cwd", read, "/proc/self/cwd/key")
attempt("relative", read, "key")
os.chdir("/")
name = os.open(f"{T}/vault/key", os.O_PATH)
attempt("dev-fd", read, f"/dev/fd/{name}")
folder = os.open(f"{T}/vault", os.O_PATH)
attempt("folder-descriptor", read, "key", os.O_RDONLY, folder)
if AGENT_UID == 0:
    attempt("for-writing", lambda: os.close(os.open(f"{T}/vault/key", os.O_WRONLY)))
attempt("allowed", read, f"{T}/in/note")
attempt("allowed-by-symlink", read, f"{T}/work/note")
attempt("allowed-by-proc-self-root", read, f"/proc/self/root{T}/in/note")
