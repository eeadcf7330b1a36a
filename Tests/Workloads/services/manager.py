"""A service manager as far as sd_notify(3) goes: each message is a line of LOG.

Usage: manager.py SOCKET LOG; a SOCKET that begins with "@" has no file.
"""

import os
import socket
import sys

name = sys.argv[1]
door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
door.bind("\0" + name[1:] if name.startswith("@") else name)
log = open(sys.argv[2], "w", buffering=1)
print("ready", flush=True)
while True:
    message, rights, _, _ = socket.recv_fds(door, 4096, 4)
    log.write(message.decode().strip() + f" {len(rights)}\n")
    for descriptor in rights:
        os.close(descriptor)  # the barrier
