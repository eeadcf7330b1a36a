#!/usr/bin/env bash
# Linux 6.18: a connection that takes the place of one in TIME_WAIT begins with the old one's next sequence number and 65,537.
#
# Input: over loopback, in a network namespace of its own: a server closes first, and the client connects again from the same port.
# A packet socket notes the numbers.
# Guessed: the server's first number is random (RFC 6528), as it is for every other connection.
# Instead: it is the number behind the server's FIN and 65,537, each time. A server that was not in TIME_WAIT has another one.
# Why it matters: TCP_REPAIR sets numbers of a socket that it makes, never of one that comes out of accept(2). With a connection in
# TIME_WAIT before it, that one has the numbers which one wants.
set -euo pipefail
got=$(unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PY'
import socket, struct

wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
wire.bind(("lo", 0))
wire.settimeout(0.2)

def sent_by_server():
    """(flags, sequence number) of all that port 80 has sent since the last call."""
    found = []
    try:
        while True:
            packet = wire.recv(2000)
            segment = packet[(packet[0] & 15) * 4:]
            if struct.unpack(">H", segment[:2])[0] == 80:
                found.append((segment[13], struct.unpack(">I", segment[4:8])[0]))
    except TimeoutError:
        return found

server = socket.create_server(("127.0.0.1", 80))

def connect(port):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", port))
    client.connect(("127.0.0.1", 80))
    return client, server.accept()[0]

def steps(port):
    """From the number behind the server's FIN to the first one of its next connection with the same port."""
    client, accepted = connect(port)
    accepted.close()
    client.recv(1)
    client.close()
    behind = [number + 1 for flags, number in sent_by_server() if flags & 1][-1]
    again = connect(port)
    first = [number for flags, number in sent_by_server() if flags & 2][0]
    return (first - behind) % 2**32

print([steps(port) for port in (5001, 5002, 5003)])
PY
)
if [ "$got" != "[65537, 65537, 65537]" ]; then
    printf 'CHANGED: first numbers after TIME_WAIT on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a connection after TIME_WAIT begins 65537 behind the last one'
