// Netlink sockets: new, bound, with groups, connected. Each still talks to the kernel, as who it was.
#include "workload.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

static const struct option { int name, value; } options[] = {
    {NETLINK_PKTINFO, 1}, {NETLINK_BROADCAST_ERROR, 1}, {NETLINK_NO_ENOBUFS, 1}, {NETLINK_CAP_ACK, 1}, {NETLINK_EXT_ACK, 1},
    {NETLINK_GET_STRICT_CHK, 1},
};
static const struct kind { int type, protocol, port, groups, group; } kinds[] = {
    {SOCK_RAW, NETLINK_ROUTE, 0, -1, 0},                                     // not bound
    {SOCK_RAW, NETLINK_ROUTE, 0, 0, 0},                                      // the kernel chooses a port
    {SOCK_DGRAM, NETLINK_ROUTE, 4321, RTMGRP_LINK | RTMGRP_IPV4_IFADDR, 0},
    {SOCK_RAW, NETLINK_ROUTE, 0, 0, RTNLGRP_IPV4_NETCONF > 32 ? RTNLGRP_IPV4_NETCONF : 33},
    {SOCK_DGRAM, NETLINK_KOBJECT_UEVENT, 0, 1, 0},
    {SOCK_RAW, NETLINK_GENERIC, 0, 0, 0},
    {SOCK_RAW, NETLINK_AUDIT, 0, 0, 0},
};
static struct port { int socket; struct sockaddr_nl name, peer; unsigned groups[4]; } ports[COUNT(kinds)];

static void look(struct port *port) {
    memset(&port->name, 0, sizeof port->name), memset(&port->peer, 0, sizeof port->peer);
    getsockname(port->socket, (void *)&port->name, &(socklen_t){sizeof port->name});
    getpeername(port->socket, (void *)&port->peer, &(socklen_t){sizeof port->peer});
    memset(port->groups, 0, sizeof port->groups);
    getsockopt(port->socket, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, port->groups, &(socklen_t){sizeof port->groups});
}

static int option(int socket, int level, int name) {
    int is = -1;
    getsockopt(socket, level, name, &is, &(socklen_t){sizeof is});
    return is;
}

/// Asks rtnetlink for lo, and expects one answer to this port.
static void expect_answer(int socket, unsigned port, int i) {
    struct { struct nlmsghdr header; struct ifinfomsg link; } request = {
        {sizeof request, RTM_GETLINK, NLM_F_REQUEST, 77, 0}, {.ifi_index = 1}};
    char answer[8192];
    struct sockaddr_nl kernel = {AF_NETLINK, 0, 0, 0};
    expect(sendto(socket, &request, sizeof request, 0, (void *)&kernel, sizeof kernel) == sizeof request, "port %d: cannot ask: %s", i, strerror(errno));
    struct pollfd wait = {socket, POLLIN, 0};
    expect(poll(&wait, 1, 2000) == 1, "port %d: no answer", i);
    ssize_t length = recv(socket, answer, sizeof answer, MSG_DONTWAIT);
    struct nlmsghdr *header = (void *)answer;
    expect(length > (ssize_t)sizeof *header && header->nlmsg_type == RTM_NEWLINK && header->nlmsg_seq == 77 && header->nlmsg_pid == port,
           "port %d: an answer of %zd bytes, type %d, to %u", i, length, header->nlmsg_type, header->nlmsg_pid);
}

int main(void) {
    begin();
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct kind *kind = &kinds[i];
        struct port *port = &ports[i];
        port->socket = must(socket(AF_NETLINK, kind->type | SOCK_CLOEXEC, kind->protocol));
        struct sockaddr_nl name = {AF_NETLINK, 0, kind->port, kind->groups};
        if (kind->groups >= 0) must(bind(port->socket, (void *)&name, sizeof name));
        if (kind->group) must(setsockopt(port->socket, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &kind->group, sizeof kind->group));
    }
    for (size_t o = 0; o < COUNT(options); o++) must(setsockopt(ports[2].socket, SOL_NETLINK, options[o].name, &options[o].value, sizeof(int)));
    must(setsockopt(ports[2].socket, SOL_SOCKET, SO_RCVBUF, &(int){40000}, sizeof(int)));
    for (size_t i = 0; i < COUNT(kinds); i++) look(&ports[i]);
    if (ports[2].groups[0] != (RTMGRP_LINK | RTMGRP_IPV4_IFADDR) || !ports[3].groups[1]) give_up("groups", __LINE__);
    ready();
    for (;;) {
        await_question();
        for (size_t i = 0; i < COUNT(kinds); i++) {
            struct port now = {.socket = ports[i].socket};
            look(&now);
            expect(!memcmp(&now, &ports[i], sizeof now), "port %zu was %u with groups %x %x, is %u with %x %x", i, ports[i].name.nl_pid,
                   ports[i].groups[0], ports[i].groups[1], now.name.nl_pid, now.groups[0], now.groups[1]);
            expect(option(now.socket, SOL_SOCKET, SO_TYPE) == kinds[i].type, "port %zu is of type %d", i, option(now.socket, SOL_SOCKET, SO_TYPE));
            expect(option(now.socket, SOL_SOCKET, SO_PROTOCOL) == kinds[i].protocol, "port %zu is of another protocol", i);
        }
        for (size_t o = 0; o < COUNT(options); o++)
            expect(option(ports[2].socket, SOL_NETLINK, options[o].name) == 1, "option %d is gone", options[o].name);
        expect(option(ports[2].socket, SOL_SOCKET, SO_RCVBUF) == 80000, "the buffer has changed");
        expect(!option(ports[1].socket, SOL_NETLINK, NETLINK_EXT_ACK), "port 1 has port 2's options");
        for (int i = 1; i < 4; i++) expect_answer(ports[i].socket, ports[i].name.nl_pid, i);
        verdict();
    }
}
