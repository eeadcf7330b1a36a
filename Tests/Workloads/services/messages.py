"""What the services in this folder share: a stream socket at argv[1], a log at argv[2], and "ready" when both are there."""

import socket
import sys


def messages():
    """For each connection its first message, and the descriptors that came with it."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(sys.argv[1])
    door.listen()
    print("ready", flush=True)
    while True:
        connection, _ = door.accept()
        with connection:
            text, rights, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        yield text.decode(), rights


log = open(sys.argv[2], "w", buffering=1)
