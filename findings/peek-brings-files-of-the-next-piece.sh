#!/usr/bin/env bash
# Linux 6.18: a look into a unix stream (MSG_PEEK) brings the descriptors of a piece of which it shows no byte.
#
# Input: a socket pair; "aaa" is sent, then "bbb" with one descriptor; 2 bytes are read in one pair, and looked at in another.
# Guessed: neither brings the descriptor, which came with the fourth byte.
# Instead: the read brings none; the look brings it, with the first two bytes.
# Why it matters: who copies a queue by looking at it does not see by that to which bytes its descriptors belong.
set -euo pipefail
got=$(python3 - <<'PY'
import array, os, socket
def look(flag):
    reader, writer = socket.socketpair()
    writer.send(b"aaa")
    socket.send_fds(writer, [b"bbb"], [0])
    data, control, _, _ = reader.recvmsg(2, socket.CMSG_SPACE(4), flag)
    for _, _, files in control:
        os.close(array.array("i", files[:4])[0])
    return f"{len(data)} bytes with {len(control)}"
print(f"read {look(0)}, peek {look(socket.MSG_PEEK)}")
PY
)
if [ "$got" != 'read 2 bytes with 0, peek 2 bytes with 1' ]; then
    printf 'CHANGED: descriptors that come with the first bytes of a stream, on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: MSG_PEEK brings descriptors of bytes that it does not show'
