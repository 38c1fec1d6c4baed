import os
import sys

fd = os.open(f"{os.environ['T']}/vault", os.O_PATH)
for _ in range(15):
    fd = os.open("x" * 250, os.O_PATH, dir_fd=fd)
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
denied = let_through = 0
for n in range(4000):
    # Each another name; and now and then the same, which is counted and takes no room.
    for name, flags in [(f"new{n}", os.O_CREAT | os.O_WRONLY)] + [("key", os.O_RDONLY)] * (n % 4 == 0):
        try:
            os.close(os.open(name, flags, dir_fd=fd))
            let_through += 1
        except PermissionError:
            denied += 1
print(denied, let_through, flush=True)
sys.stdin.readline()
