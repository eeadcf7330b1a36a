// Network namespaces of processes inside: one whose lo is up, with sockets that have the ports of the container's own, shared
// by a process that has joined it; one that is as it was made. A pair of sockets and a pipe lead out of it.
// capabilities: CAP_SYS_ADMIN CAP_NET_ADMIN
// seccomp: none
#include "namespaces.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define PORT 7654

static struct seat *maker, *guest, *lonely;
static int outer, letters, listener, route, pair[2], guest_letters;

static int bound(int type, int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int made = must(socket(AF_INET, type, 0));
    must(bind(made, (void *)&name, sizeof name));
    return made;
}

static int reach(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (!connect(made, (void *)&name, sizeof name)) return made;
    close(made);
    return -1;
}

static bool is_up(void) {
    struct ifreq asked = {.ifr_name = "lo"};
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(any, SIOCGIFFLAGS, &asked);
    close(any);
    return asked.ifr_flags & IFF_UP;
}

/// SIOCGSKNS, which asks for CAP_NET_ADMIN.
static ino_t network_of(int socket) {
    struct stat found = {0};
    int place = ioctl(socket, 0x894c);
    if (place >= 0) fstat(place, &found);
    close(place);
    return found.st_ino;
}

static void leave(void) {
    must(unshare(CLONE_NEWNET));
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int any = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(ioctl(any, SIOCSIFFLAGS, &lo));
    close(any);
    int file = open("/proc/sys/net/ipv4/ip_default_ttl", O_WRONLY);
    if (file >= 0) must(write(file, "77", 2));
    close(file);
    listener = bound(SOCK_STREAM, PORT);
    must(listen(listener, 3));
    letters = bound(SOCK_DGRAM, PORT);
    route = must(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    must(bind(route, (void *)&name, sizeof name));
}

static void check_route(void) {
    struct { struct nlmsghdr head; struct ifinfomsg body; } asked = {
        {sizeof asked, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {.ifi_family = AF_UNSPEC}};
    char answer[16384];
    int found = 0;
    expect(send(route, &asked, sizeof asked, 0) == sizeof asked, "cannot ask for interfaces");
    for (bool ended = false; !ended;) {
        ssize_t count = recv(route, answer, sizeof answer, 0);
        if (count <= 0) break;
        for (struct nlmsghdr *one = (void *)answer; NLMSG_OK(one, count); one = NLMSG_NEXT(one, count)) {
            ended |= one->nlmsg_type == NLMSG_DONE || one->nlmsg_type == NLMSG_ERROR;
            struct ifinfomsg *told = NLMSG_DATA(one);
            if (one->nlmsg_type == RTM_NEWLINK && told->ifi_flags & IFF_UP) found++;
        }
    }
    expect(found == 1, "%d interfaces are up", found);
}

static void check_maker(void) {
    char byte = 0;
    expect(is_up(), "lo is down");
    for (int i = 0; i < 2; i++) {
        int client = reach(), server = client < 0 ? -1 : accept(listener, 0, 0);
        expect(server >= 0 && write(client, "x", 1) == 1 && read(server, &byte, 1) == 1 && byte == 'x',
               "cannot reach its own socket: %s", strerror(errno));
        // Nobody is to be left in TIME_WAIT.
        struct linger none = {1, 0};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
        close(client);
        close(server);
    }
    ino_t own = namespace_of(getpid(), "net");
    expect(network_of(listener) == own && network_of(letters) == own && network_of(route) == own,
           "its sockets are elsewhere");
    check_route();
    char ttl[20] = "";
    int file = open("/proc/sys/net/ipv4/ip_default_ttl", O_RDWR);
    if (file >= 0) expect(read(file, ttl, sizeof ttl - 1) > 0 && atoi(ttl) == 77, "the sysctl is %s", ttl);
    close(file);
    expect(read(pair[1], &byte, 1) == 1 && byte == 'q' && write(pair[1], "a", 1) == 1, "the pair leads nowhere");
}

static void join(void) {
    join_namespace(maker->pid, "net");
    guest_letters = bound(SOCK_DGRAM, PORT + 1);
}

static void check_guest(void) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT + 1), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char byte = 0;
    expect(is_up(), "lo is down");
    expect(sendto(guest_letters, "y", 1, 0, (void *)&name, sizeof name) == 1
               && recv(guest_letters, &byte, 1, MSG_DONTWAIT) == 1 && byte == 'y', "a letter is lost");
    expect(network_of(guest_letters) == namespace_of(getpid(), "net"), "its socket is elsewhere");
}

static void leave_alone(void) { must(unshare(CLONE_NEWNET)); }

static void check_lonely(void) {
    expect(!is_up(), "lo is up");
    expect(reach() < 0, "somebody is there");
}

static void check(void) {
    char byte = 0;
    ino_t own = namespace_of(getpid(), "net"), inner = namespace_of(maker->pid, "net");
    expect(own != inner && inner == namespace_of(guest->pid, "net"), "who was together is apart, or the other way");
    expect(namespace_of(lonely->pid, "net") != own && namespace_of(lonely->pid, "net") != inner, "two namespaces have become one");
    expect(network_of(outer) == own, "the container's socket is elsewhere");
    int client = reach(), server = client < 0 ? -1 : accept(outer, 0, 0);
    expect(server >= 0, "cannot reach the container's socket");
    struct linger none = {1, 0};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(client);
    close(server);
    char ttl[20] = "";
    int file = open("/proc/sys/net/ipv4/ip_default_ttl", O_RDONLY);
    expect(file >= 0 && read(file, ttl, sizeof ttl - 1) > 0 && atoi(ttl) == 64, "the container's sysctl is %s", ttl);
    close(file);
    expect(write(pair[0], "q", 1) == 1, "the pair is gone");
    ask_crew();
    expect(read(pair[0], &byte, 1) == 1 && byte == 'a', "no answer by the pair");
}

int main(void) {
    begin();
    outer = bound(SOCK_STREAM, PORT);
    must(listen(outer, 3));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    maker = hire(leave, check_maker);
    close(pair[1]);
    guest = hire(join, check_guest);
    lonely = hire(leave_alone, check_lonely);
    ready();
    for (;;) {
        await_question();
        check();
        answer();
    }
}
