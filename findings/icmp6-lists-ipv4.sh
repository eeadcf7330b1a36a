#!/usr/bin/env bash
# Linux 6.18: /proc/net/icmp6 lists ping sockets of IPv4, too, where they lie behind one of IPv6 in the kernel's table.
#
# Input: in a network namespace of its own a ping socket of IPv4 with the identifier 1000, then one of IPv6 with 1064 (the table has
# 64 places, by identifier).
# Guessed: /proc/net/icmp has the one, and /proc/net/icmp6 the other, as with every other protocol.
# Instead: /proc/net/icmp6 has both, with the same inode as in the other list, and an address of IPv6 that the first socket does not
# have. In the other order /proc/net/icmp has both; with 1065 each has its own.
# Why it matters: who goes through both lists by inode takes one of some fifty IPv4 ping sockets for one of IPv6.
set -euo pipefail
got=$(unshare --net bash -c 'ip link set lo up && echo "0 0" >/proc/sys/net/ipv4/ping_group_range && exec python3 -' <<'PY'
import socket

def lists(*wanted):
    sockets = []
    for family, identifier in wanted:
        one = socket.socket(family, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP)
        one.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", identifier))
        sockets.append(one)
    return [len(open(f"/proc/net/{name}").readlines()) - 1 for name in ["icmp", "icmp6"]]

print(lists((socket.AF_INET, 1000), (socket.AF_INET6, 1064)), lists((socket.AF_INET6, 1064), (socket.AF_INET, 1000)),
      lists((socket.AF_INET, 1000), (socket.AF_INET6, 1065)))
PY
)
if [ "$got" != "[1, 2] [2, 1] [1, 1]" ]; then
    printf 'CHANGED: sockets in /proc/net/icmp and icmp6 on %s: %s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: /proc/net/icmp6 has a ping socket of IPv4'
