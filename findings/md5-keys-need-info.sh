#!/usr/bin/env bash
# sock_diag(7) on Linux 6.18, by netlink from Python: keys of TCP_MD5SIG are told only to who asks for tcp_info.
#
# Input: a TCP socket on loopback that listens and has a key for one peer; the inet dump, asked by root with no extension,
# with INET_DIAG_MEMINFO, with INET_DIAG_INFO, and with all eight that fit into the request.
# Guessed: INET_DIAG_MD5SIG, which needs CAP_NET_ADMIN and has no bit of its own in the request, is in each answer to root,
# as INET_DIAG_MARK and INET_DIAG_CGROUP_ID are.
# Instead: it is there with INET_DIAG_INFO alone.
# Why it matters: a dump that does not ask for tcp_info takes a socket with keys for one without, and makes it again without.
set -euo pipefail
got=$(python3 - <<'PY'
import socket, struct
server = socket.socket()
server.bind(("127.0.0.1", 0))
peer = struct.pack("=HHI", socket.AF_INET, 0, 0x0100007F).ljust(128, b"\0")
server.setsockopt(socket.IPPROTO_TCP, 14, peer + struct.pack("=BBHI", 0, 0, 7, 0) + bytes(4) + b"example".ljust(80, b"\0"))
server.listen(1)
port = socket.htons(server.getsockname()[1])
def attributes(extensions):
    kinds, link = set(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, extensions, 0, 1 << 10) + bytes(48)
    link.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
    while True:
        data = link.recv(1 << 16)
        while data:
            size, kind = struct.unpack_from("=IH", data)
            if kind != 20:
                return kinds
            body, rest = data[16:size], data[88:size]
            while struct.unpack_from("=H", body, 4)[0] == port and len(rest) >= 4:
                length, attribute = struct.unpack_from("=HH", rest)
                kinds.add(attribute)
                rest = rest[length + 3 & ~3:]
            data = data[size + 3 & ~3:]
for name, extensions in {"none": 0, "meminfo": 1, "info": 2, "all": 255}.items():
    told = attributes(extensions)
    print(name, *(word for word, number in {"mark": 15, "md5": 18, "cgroup": 21}.items() if number in told))
PY
)
seen='none mark cgroup
meminfo mark cgroup
info mark md5 cgroup
all mark md5 cgroup'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: Linux %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: sock_diag tells MD5 keys only together with tcp_info (Linux 6.18)'
