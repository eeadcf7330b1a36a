"""Receives pidfds: for each, a line in LOG of the word that came with it, how many descriptors there were, and whose
pidfd it is.

Usage: pidfd.py SOCKET LOG
"""

import socket
import sys

door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
door.bind(sys.argv[1])
door.listen()
log = open(sys.argv[2], "w", buffering=1)
print("ready", flush=True)
while True:
    connection, _ = door.accept()
    message, rights, _, _ = socket.recv_fds(connection, 4096, 4)
    info = open(f"/proc/self/fdinfo/{rights[0]}").read()
    pid = next(line.split()[1] for line in info.splitlines() if line.startswith("Pid:"))
    log.write(f"{message.decode()} {len(rights)} {pid}\n")
