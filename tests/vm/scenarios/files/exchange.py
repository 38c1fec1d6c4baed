import sys
from attempt import AT_FDCWD, syscall

RENAME_EXCHANGE = 2
one, other = (path.encode() for path in sys.argv[1:])
syscall("renameat2", AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
