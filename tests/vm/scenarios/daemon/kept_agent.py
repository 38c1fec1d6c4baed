"""Reads a file at each line of its input."""

import os
import sys
from attempt import T, read

for _ in sys.stdin:
    try:
        read(f"{T}/vault/key")
        print("ok", flush=True)
    except PermissionError:
        print("EACCES", flush=True)
