import os
import socket
from attempt import T, attempt, read

attempt("read-denied-file", read, f"{T}/vault/key")
attempt("create", lambda: os.close(os.open(f"{T}/work/made", os.O_CREAT | os.O_WRONLY)))
attempt("connect", lambda: socket.create_connection(("127.0.0.1", 7001)).close())
