import fcntl
import os
import select
import termios
import tty
from attempt import attempt, say

TIOCLINUX = 0x541C

before = termios.tcgetattr(0)
tty.setcbreak(0)
attempt("tiocsti", fcntl.ioctl, 0, termios.TIOCSTI, b"x")
attempt("tioclinux", fcntl.ioctl, 0, TIOCLINUX, bytearray([2] + [0] * 15))
ready, _, _ = select.select([0], [], [], 0.3)
say("typed", os.read(0, 1).decode() if ready else "nothing")
termios.tcsetattr(0, termios.TCSADRAIN, before)
attempt("allowed-window-size", os.get_terminal_size, 1)
say("is-a-terminal", os.isatty(0))
