#!/usr/bin/env bash
# Linux 6.18: a permanent IPv4 neighbour on `lo` is kept as 0.0.0.0, whatever its address was, and stands for all of 127.0.0.0/8.
#
# Input: in a network namespace of its own, `ip neigh add 127.5.5.5 lladdr 02:00:00:00:00:01 nud permanent dev lo`.
# Guessed: it is listed as 127.5.5.5, what is sent to 127.0.0.1 arrives as before, and it is deleted by its address.
# Instead: it is listed as 0.0.0.0, and datagrams from 127.0.0.1 to itself vanish without an error; there is nothing to delete by
# its address.
# Why it matters: who carries a network configuration over cannot find the entry again by what it was asked for.
set -euo pipefail
got=$(unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PY'
import socket, subprocess

def say(when):
    here, there = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    here.bind(("127.0.0.1", 0))
    here.settimeout(0.5)
    there.sendto(b"x", here.getsockname())
    try:
        here.recv(1)
        print(when, "arrives")
    except TimeoutError:
        print(when, "is lost")

def neighbour(*words):
    return subprocess.run(["ip", "neigh", *words, "dev", "lo"], stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout

say("before")
neighbour("add", "127.5.5.5", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
say("then")
print(neighbour("show").split()[0])
neighbour("del", "127.5.5.5")
say("deleted")
PY
)
if [ "$got" != $'before arrives\nthen is lost\n0.0.0.0\ndeleted is lost' ]; then
    printf 'CHANGED: a neighbour on lo, on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a permanent neighbour on lo is 0.0.0.0, and loopback is silent'
