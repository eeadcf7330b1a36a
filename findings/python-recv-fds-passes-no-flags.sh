#!/usr/bin/env bash
# CPython 3.11: socket.recv_fds takes flags, and does not pass them on: with MSG_PEEK it takes the message.
#
# Input: a message with one descriptor in a socket pair; socket.recv_fds with MSG_PEEK, then without.
# Guessed: both give it, as recvmsg with MSG_PEEK does.
# Instead: the first takes it; for the second nothing is there.
# Why it matters: who looks at descriptors under way in a queue by this function empties it; recvmsg is to be called itself.
set -euo pipefail
version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
got=$(python3 - <<'PY'
import socket
reader, writer = socket.socketpair()
reader.setblocking(False)
socket.send_fds(writer, [b"x"], [0])
first = socket.recv_fds(reader, 1, 1, socket.MSG_PEEK)
try:
    second = socket.recv_fds(reader, 1, 1)[0]
except BlockingIOError:
    second = "nothing"
print(first[0], second)
PY
)
if [ "$version $got" != "3.11 b'x' nothing" ]; then
    printf 'CHANGED: what a look by recv_fds leaves, with Python %s: %s\n' "$version" "$got"
    exit 1
fi
echo 'same as seen: recv_fds with MSG_PEEK takes the message'
