#!/usr/bin/env bash
# tcp(7) on Linux 6.18: listen(2) sets TCP_QUICKACK back.
#
# Input: a TCP socket on loopback, TCP_QUICKACK set to 0, then bind and listen.
# Guessed: an option that was set before listen is there after it, as TCP_NODELAY, TCP_CORK and TCP_SYNCNT are.
# Instead: it is 1 again, though not one segment has come or gone.
# Why it matters: who makes a listening socket again from its options must set this one after listen.
set -euo pipefail
got=$(python3 - <<'PY'
import socket
names = {"TCP_QUICKACK": (12, 0), "TCP_NODELAY": (1, 1), "TCP_CORK": (3, 1), "TCP_SYNCNT": (7, 3)}
with socket.socket() as server:
    for number, value in names.values():
        server.setsockopt(socket.IPPROTO_TCP, number, value)
    server.bind(("127.0.0.1", 0))
    def show(when):
        print(when, *(f"{name}={server.getsockopt(socket.IPPROTO_TCP, number)}" for name, (number, _) in names.items()))
    show("bound:")
    server.listen(1)
    show("listens:")
PY
)
seen='bound: TCP_QUICKACK=0 TCP_NODELAY=1 TCP_CORK=1 TCP_SYNCNT=3
listens: TCP_QUICKACK=1 TCP_NODELAY=1 TCP_CORK=1 TCP_SYNCNT=3'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: Linux %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: listen sets TCP_QUICKACK back (Linux 6.18)'
