#!/usr/bin/env bash
# unix(7) on Linux 6.18, with Python's socket: the end of a stream comes with credentials, which are all zero.
#
# Input: two ends of a stream, one with SO_PASSCRED; the other, of user 1000, sends a byte and closes.
# Guessed: the byte has SCM_CREDENTIALS with the sender's ids; the end of the stream, which nobody sent, has none.
# Instead: recvmsg returns 0 bytes and SCM_CREDENTIALS all the same, with process 0, user 0 and group 0.
# Why it matters: a walk through a queue that is to be dumped with its senders must stop at the length: the end looks like
# one more empty message, with a sender.
set -euo pipefail
got=$(python3 - <<'PY'
import os, socket, struct
ours, theirs = socket.socketpair()
ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
if os.fork() == 0:
    ours.close()
    os.setresuid(1000, 1000, 1000)
    theirs.send(b"x")
    os._exit(0)
theirs.close()
os.wait()
for _ in range(2):
    data, control, _, _ = ours.recvmsg(10, 100)
    for level, kind, value in control:
        if kind == socket.SCM_CREDENTIALS:
            pid, user, group = struct.unpack("3i", value)
            print(len(data), "bytes: process 0," if pid == 0 else "bytes: a process,", "user", user, "group", group)
PY
)
seen='1 bytes: a process, user 1000 group 0
0 bytes: process 0, user 0 group 0'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: Linux %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: the end of a unix stream has a sender, 0 0 0 (Linux 6.18)'
