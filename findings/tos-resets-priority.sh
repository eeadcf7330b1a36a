#!/usr/bin/env bash
# Linux 6.18: setting IP_TOS overwrites SO_PRIORITY; setting IPV6_TCLASS does not. socket(7) and ip(7) of man-pages
# 6.03 are silent.
#
# Input: SO_PRIORITY 5 on a TCP socket, then the type of service: to another value, to the same value again, over
# IPv6.
# Guessed: they are two options, each read back as it was set (the pages only say, in a comment that is not shown,
# that setting the *priority* also sets the type of service).
# Instead: it is the other way round. Setting IP_TOS to a new value puts a priority derived from it in SO_PRIORITY's
# place; setting it to the value it already has leaves the priority alone; IPV6_TCLASS never touches it.
# Why it matters: a restore must set the type of service first and the priority last, or the priority is lost; a test
# with the type of service 0, or over IPv6, does not show the fault.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
static int priority(int socket) {
    int value = -1;
    socklen_t size = sizeof value;
    getsockopt(socket, SOL_SOCKET, SO_PRIORITY, &value, &size);
    return value;
}
static int set(int socket, int level, int option, int value) {
    return setsockopt(socket, level, option, &value, sizeof value);
}
int main(void) {
    int four = socket(AF_INET, SOCK_STREAM, 0), six = socket(AF_INET6, SOCK_STREAM, 0);
    set(four, SOL_SOCKET, SO_PRIORITY, 5);
    set(four, IPPROTO_IP, IP_TOS, 0);
    printf("IP_TOS 0 as before: %d\n", priority(four));
    set(four, IPPROTO_IP, IP_TOS, 8);
    printf("IP_TOS 8: %d\n", priority(four));
    set(four, SOL_SOCKET, SO_PRIORITY, 5);
    set(four, IPPROTO_IP, IP_TOS, 8);
    printf("IP_TOS 8 again: %d\n", priority(four));
    set(six, SOL_SOCKET, SO_PRIORITY, 5);
    set(six, IPPROTO_IPV6, IPV6_TCLASS, 8);
    printf("IPV6_TCLASS 8: %d\n", priority(six));
}
C
gcc -o "$dir/ask" "$dir/ask.c"
got=$("$dir/ask")
seen='IP_TOS 0 as before: 5
IP_TOS 8: 2
IP_TOS 8 again: 5
IPV6_TCLASS 8: 5'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: SO_PRIORITY 5 after the type of service on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: a new IP_TOS puts its own value in the place of SO_PRIORITY, IPV6_TCLASS does not'
