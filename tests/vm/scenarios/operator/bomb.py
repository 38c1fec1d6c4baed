"""Forks as often as it is let, works in every process, and never ends by itself."""

import os
import time

work = f"{os.environ['T']}/work"
while True:
    try:
        if os.fork() == 0:
            continue
    except OSError:
        pass
    with open(f"{work}/{os.getpid()}", "a") as file:
        file.write(".")
    time.sleep(0.01)
