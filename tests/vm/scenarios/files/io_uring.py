import os
import struct
from attempt import T, attempt, read, syscall

IORING_SETUP_SQPOLL = 2


def setup(flags):
    # struct io_uring_params is 120 bytes, flags are its third word.
    import ctypes
    parameters = ctypes.create_string_buffer(struct.pack("III", 0, 0, flags) + bytes(108))
    os.close(syscall("io_uring_setup", 4, parameters))


attempt("plain", setup, 0)
attempt("sqpoll", setup, IORING_SETUP_SQPOLL)
attempt("allowed", read, f"{T}/in/note")
