#!/usr/bin/env bash
# pyroute2 0.9.7 on Linux 6.18: a Unix socket with an abstract name looks like one with a relative path.
#
# Input: two listening sockets, one bound to the abstract name "ab" (a NUL before it), one to the relative path "ab";
# both are asked for with DiagSocket (sock_diag).
# Guessed: UNIX_DIAG_NAME has the leading NUL, or an `@` in its place as ss and /proc/net/unix have it.
# Instead: the kernel sends the NUL (seen in the raw message), pyroute2 takes it away: both sockets are called "ab".
# Only UNIX_DIAG_VFS, which an abstract name lacks, tells them apart.
# Why it matters: a tool that finds a container's sockets by name confuses a name that lives in the network namespace
# with a file.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m pip install -q --root-user-action=ignore --disable-pip-version-check --no-compile --no-deps \
    --target python pyroute2==0.9.7
got=$(PYTHONPATH=$dir/python unshare -n python3 - <<'PY'
import os, socket, struct
from pyroute2 import DiagSocket
sockets = {}
for kind, name in (("abstract", "\0ab"), ("path", "ab")):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.bind(name)
    one.listen()
    sockets[os.fstat(one.fileno()).st_ino] = kind, one
with DiagSocket() as diag:
    diag.bind()
    found = {}
    for message in diag.get_sock_stats(family=socket.AF_UNIX, show=3):
        if message["udiag_ino"] in sockets:
            found[sockets[message["udiag_ino"]][0]] = message
for kind in sorted(found):
    file = "with VFS" if found[kind].get_attr("UNIX_DIAG_VFS") else "no VFS"
    print(kind, repr(found[kind].get_attr("UNIX_DIAG_NAME")), file)
raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
request = struct.pack("<BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, 1, 0xFFFFFFFF, 0xFFFFFFFF)
raw.send(struct.pack("<IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
print("kernel sends the NUL:", b"\x07\0\0\0\0ab" in raw.recv(65536))
print([line.split()[-1] for line in open("/proc/net/unix") if line.rstrip().endswith("ab")])
PY
)
seen="abstract 'ab' no VFS
path 'ab' with VFS
kernel sends the NUL: True
['@ab', 'ab']"
got=$(sed "s/\['ab', '@ab'\]/['@ab', 'ab']/" <<<"$got")
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: pyroute2 0.9.7 on abstract names:\n%s\n' "$got"
    exit 1
fi
echo 'same as seen: pyroute2 0.9.7 gives one name for an abstract socket and for a relative path'
