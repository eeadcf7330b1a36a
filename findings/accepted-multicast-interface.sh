#!/usr/bin/env bash
# Linux 6.18: an accepted IPv6 socket has IPV6_MULTICAST_IF set, which neither its listener nor its peer has.
#
# Input: a TCP connection over ::1; the option of the listener, of the client and of the accepted socket is read.
# Guessed: an accepted socket has its listener's options, and this one is 0 unless somebody sets it.
# Instead: it is the number of the interface that the connection came in by.
# Why it matters: who keeps sockets by comparing their options with a new one's takes each accepted one for a socket that the
# program has bound to an interface, which may have another number elsewhere.
set -euo pipefail
got=$(python3 - <<'PY'
import socket
listener = socket.socket(socket.AF_INET6)
listener.bind(("::1", 0))
listener.listen()
client = socket.socket(socket.AF_INET6)
client.connect(listener.getsockname())
accepted, _ = listener.accept()
loopback = socket.if_nametoindex("lo")
values = [s.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) for s in (listener, client, accepted)]
print(*("lo" if value == loopback else value for value in values))
PY
)
if [ "$got" != "0 0 lo" ]; then
    printf 'CHANGED: IPV6_MULTICAST_IF of listener, client, accepted socket on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: an accepted IPv6 socket has its interface for multicast'
