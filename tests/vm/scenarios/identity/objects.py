"""Keys and System V objects: `make` makes those of somebody outside, without an argument they are tried."""

import ctypes
import os
import struct
import sys
from attempt import T, attempt, syscall

SHM, SEM, MSG = 0xAE6151, 0xAE6152, 0xAE6153
IPC_CREAT, IPC_RMID, IPC_STAT, IPC_PRIVATE = 0o1000, 0, 2, 0
JOIN, REVOKE, SETPERM, UNLINK, SEARCH, READ = 1, 3, 5, 9, 10, 11
PROCESS, SESSION, USER = -2, -3, -4
SECRET = b"key of somebody"


def add(name, keyring, content=SECRET):
    return syscall("add_key", b"user", name, content, len(content), keyring)


def make():
    """As the same user that the agent is, so that ordinary permissions allow everything."""
    serial = add(b"aegis-outside", USER)
    syscall("keyctl", SETPERM, serial, 0x3F3F3F3F)
    ids = [syscall("shmget", SHM, 4096, IPC_CREAT | 0o600), syscall("semget", SEM, 1, IPC_CREAT | 0o600), syscall("msgget", MSG, IPC_CREAT | 0o600)]
    send(ids[2], b"message")
    print(serial, *ids)


def read_key(serial):
    content = ctypes.create_string_buffer(100)
    length = syscall("keyctl", READ, serial, content, 100)
    if content.raw[:length] != SECRET:
        raise OSError(5, "another content")


def send(queue, text):
    syscall("msgsnd", queue, struct.pack("q", 1) + text, len(text), 0o4000)


def receive(queue):
    syscall("msgrcv", queue, ctypes.create_string_buffer(100), 92, 0, 0o4000)


def raise_semaphore(semaphores):
    syscall("semop", semaphores, struct.pack("Hhh", 0, 1, 0), 1)


def own_keys():
    syscall("keyctl", JOIN, 0)
    for keyring in (SESSION, PROCESS):
        serial = add(b"aegis-own", keyring)
        read_key(serial)
        syscall("keyctl", UNLINK, serial, keyring)


def own_memory():
    memory = syscall("shmget", IPC_PRIVATE, 4096, IPC_CREAT | 0o600)
    address = syscall("shmat", memory, 0, 0)
    ctypes.memmove(address, b"own", 3)
    syscall("shmdt", ctypes.c_void_p(address))
    syscall("shmctl", memory, IPC_RMID, 0)


def own_queue():
    queue = syscall("msgget", IPC_PRIVATE, IPC_CREAT | 0o600)
    send(queue, b"own")
    receive(queue)
    syscall("msgctl", queue, IPC_RMID, 0)


def own_semaphore():
    semaphores = syscall("semget", IPC_PRIVATE, 1, IPC_CREAT | 0o600)
    raise_semaphore(semaphores)
    syscall("semctl", semaphores, 0, IPC_RMID, 0)


if sys.argv[1:] == ["make"]:
    sys.exit(make())
with open(f"{T}/in/objects") as file:
    serial, memory, semaphores, queue = map(int, file.read().split())
state = ctypes.create_string_buffer(200)

attempt("allowed-own-keys", own_keys)
attempt("allowed-own-memory", own_memory)
attempt("allowed-own-queue", own_queue)
attempt("allowed-own-semaphore", own_semaphore)
attempt("key-read", read_key, serial)
attempt("key-search", lambda: syscall("keyctl", SEARCH, USER, b"user", b"aegis-outside", 0))
attempt("key-added-to-the-users", lambda: add(b"aegis-planted", USER))
attempt("key-revoked", lambda: syscall("keyctl", REVOKE, serial))
attempt("key-asked-of-a-helper", lambda: syscall("request_key", b"user", b"aegis-asked", b"callout", SESSION))
attempt("memory-found", lambda: syscall("shmget", SHM, 0, 0))
attempt("memory-attached", lambda: syscall("shmat", memory, 0, 0))
attempt("memory-asked-about", lambda: syscall("shmctl", memory, IPC_STAT, state))
attempt("semaphore-raised", raise_semaphore, semaphores)
attempt("message-received", receive, queue)
attempt("message-sent", send, queue, b"planted")
attempt("memory-removed", lambda: syscall("shmctl", memory, IPC_RMID, 0))
attempt("semaphore-removed", lambda: syscall("semctl", semaphores, 0, IPC_RMID, 0))
attempt("queue-removed", lambda: syscall("msgctl", queue, IPC_RMID, 0))
