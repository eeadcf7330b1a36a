#!/usr/bin/env bash
# Linux 6.18: a raw IP socket that was connected, and then disconnected (connect(2) to AF_UNSPEC), receives nothing any more.
#
# Input: two raw sockets of one protocol in a network namespace with `lo`; one sends to 127.0.0.1, the other is looked at when it is
# new, connected to 127.0.0.1, disconnected, and bound to 127.0.0.1 after that.
# Guessed: it gets every packet, as a UDP socket does, which is what it was before once it is disconnected.
# Instead: from the disconnecting on it gets none, bound again or not; all calls succeed.
# Why it matters: such a socket looks like a new one, but for its absence from /proc/net/raw; made anew it would begin to hear.
set -euo pipefail
got=$(unshare --net sh -c 'ip link set lo up && exec python3 -' <<'PY'
import ctypes, socket
hearing, speaking = (socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) for _ in range(2))
hearing.settimeout(1)

def look(when):
    speaking.sendto(b"12345678", ("127.0.0.1", 0))
    try:
        print(when, len(hearing.recv(100)))
    except TimeoutError:
        print(when, "nothing")

look("new")
hearing.connect(("127.0.0.1", 0))
look("connected")
assert ctypes.CDLL(None).connect(hearing.fileno(), (ctypes.c_char * 16)(), 16) == 0
look("disconnected")
hearing.bind(("127.0.0.1", 0))
look("bound")
PY
)
if [ "$got" != $'new 28\nconnected 28\ndisconnected nothing\nbound nothing' ]; then
    printf 'CHANGED: what a raw socket receives on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a raw socket that was disconnected receives nothing'
