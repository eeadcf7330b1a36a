"""deaf_socket.py PATH: listens there and takes no connection; as many wait already as may."""

import signal
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(0)
waiting = []
while True:
    caller = socket.socket(socket.AF_UNIX)
    caller.setblocking(False)
    try:
        caller.connect(sys.argv[1])
    except BlockingIOError:
        break
    waiting.append(caller)
print("ready", flush=True)
signal.pause()
