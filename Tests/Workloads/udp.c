// UDP and UDP-lite sockets: bound, connected, unbound, shut down; their options and groups. Datagrams still go where they went.
// capabilities: CAP_NET_BIND_SERVICE CAP_NET_RAW
#include "workload.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#ifndef UDPLITE_SEND_CSCOV
#define UDPLITE_SEND_CSCOV 10
#endif
#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

static const struct option { int level, name, value; const char *what; } options[] = {
    {SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"}, {SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"},
    {SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK"}, {SOL_SOCKET, SO_RCVBUF, 50000, "SO_RCVBUF"},
    {SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS"}, {SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL"},
    {IPPROTO_UDP, UDP_CORK, 1, "UDP_CORK"}, {IPPROTO_UDP, UDP_NO_CHECK6_TX, 1, "UDP_NO_CHECK6_TX"},
    {IPPROTO_UDP, UDP_NO_CHECK6_RX, 1, "UDP_NO_CHECK6_RX"}, {IPPROTO_UDP, UDP_SEGMENT, 1200, "UDP_SEGMENT"},
    {IPPROTO_UDP, UDP_GRO, 1, "UDP_GRO"}, {IPPROTO_IP, IP_TOS, 0x10, "IP_TOS"}, {IPPROTO_IP, IP_TTL, 33, "IP_TTL"},
    {IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"}, {IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL"},
    {IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS"}, {IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR"},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, "IP_MTU_DISCOVER"}, {IPPROTO_IP, IP_MULTICAST_TTL, 9, "IP_MULTICAST_TTL"},
    {IPPROTO_IP, IP_MULTICAST_LOOP, 0, "IP_MULTICAST_LOOP"}, {IPPROTO_IP, IP_MULTICAST_ALL, 1, "IP_MULTICAST_ALL"},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"}, {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT"},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 7, "IPV6_MULTICAST_HOPS"}, {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0, "IPV6_MULTICAST_LOOP"},
    {IPPROTO_IPV6, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG"},
};
static int values[COUNT(options)];

static int lo, any4, any6, mapped, lite, ephemeral, connected[2], rich, twins[2], shut[3], fresh, member4, member6, bystander;
static struct sockaddr_storage names[32], peers[32];

static union name { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } v4(const char *text, int port) {
    union name name = {.v4 = {AF_INET, htons(port), {inet_addr(text)}, {0}}};
    return name;
}

static union name v6(const char *text, int port) {
    union name name = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    inet_pton(AF_INET6, text, &name.v6.sin6_addr);
    return name;
}

static socklen_t size(const union name *name) { return name->any.sa_family == AF_INET ? sizeof name->v4 : sizeof name->v6; }

static void set(int socket, int level, int name, int value) { must(setsockopt(socket, level, name, &value, sizeof value)); }

static int make(int family, int proto) { return must(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, proto)); }

static int bound(union name name, int proto) {
    int made = make(name.any.sa_family, proto);
    must(bind(made, &name.any, size(&name)));
    return made;
}

static int option(int socket, int level, int name) {
    int is = -1;
    getsockopt(socket, level, name, &is, &(socklen_t){sizeof is});
    return is;
}

/// What must not change of a socket's addresses. Of one without a peer, all zero.
static void addresses(int socket, struct sockaddr_storage *own, struct sockaddr_storage *peer) {
    memset(own, 0, sizeof *own);
    memset(peer, 0, sizeof *peer);
    getsockname(socket, (void *)own, &(socklen_t){sizeof *own});
    getpeername(socket, (void *)peer, &(socklen_t){sizeof *peer});
}

/// Sends from a new socket, bound to `from` if it has a port, and expects it here, from there, and nowhere else.
static void expect_datagram(int sender, const union name *to, int receiver, const char *what) {
    char got[40] = "", text[40];
    struct sockaddr_storage own, peer, from = {0};
    static int count;
    snprintf(text, sizeof text, "%s %d", what, ++count);
    ssize_t sent = to ? sendto(sender, text, strlen(text), 0, &to->any, size(to)) : send(sender, text, strlen(text), 0);
    expect(sent == (ssize_t)strlen(text), "%s: cannot send: %s", what, strerror(errno));
    struct pollfd wait = {receiver, POLLIN, 0};
    expect(poll(&wait, 1, 2000) == 1, "%s: nothing comes", what);
    ssize_t length = recvfrom(receiver, got, sizeof got - 1, MSG_DONTWAIT, (void *)&from, &(socklen_t){sizeof from});
    expect(length == sent && !strcmp(got, text), "%s: '%s' came", what, got);
    addresses(sender, &own, &peer);
    in_port_t port = ((struct sockaddr_in *)&own)->sin_port;
    expect(((struct sockaddr_in *)&from)->sin_port == port, "%s: it came from port %d", what, ntohs(((struct sockaddr_in *)&from)->sin_port));
}

static void expect_nothing(int receiver, const char *what) {
    char byte;
    expect(recv(receiver, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "%s got something", what);
}

static struct group_filter *filter(int socket, int level, union name group) {
    static char room[GROUP_FILTER_SIZE(4)];
    memset(room, 0, sizeof room);
    struct group_filter *filter = (void *)room;
    filter->gf_interface = lo;
    memcpy(&filter->gf_group, &group, size(&group));
    filter->gf_numsrc = 4;
    return getsockopt(socket, level, MCAST_MSFILTER, filter, &(socklen_t){sizeof room}) ? 0 : filter;
}

static void join(int socket, int level, union name group) {
    struct group_req request = {.gr_interface = lo};
    memcpy(&request.gr_group, &group, size(&group));
    must(setsockopt(socket, level, MCAST_JOIN_GROUP, &request, sizeof request));
}

static int all(int i) {
    int sockets[] = {any4, any6, mapped, lite, ephemeral, connected[0], connected[1], rich, twins[0], twins[1], shut[0],
                     shut[1], shut[2], fresh, member4, member6, bystander};
    return i < (int)COUNT(sockets) ? sockets[i] : -1;
}

static short revents(int socket) {
    struct pollfd now = {socket, POLLIN | POLLRDHUP, 0};
    poll(&now, 1, 0);
    return now.revents;
}

static void set_up(void) {
    union name name;
    lo = must((int)if_nametoindex("lo"));
    any4 = bound(v4("0.0.0.0", 53), 0);
    any6 = make(AF_INET6, 0);
    set(any6, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    name = v6("::", 53);
    must(bind(any6, &name.any, size(&name)));
    mapped = bound(v6("::", 5353), 0);
    lite = bound(v4("127.0.0.1", 53), IPPROTO_UDPLITE);
    set(lite, IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, 8);
    ephemeral = bound(v4("127.0.0.1", 0), 0);
    connected[0] = bound(v4("127.0.0.1", 7000), 0);
    connected[1] = make(AF_INET6, 0);
    name = v6("::ffff:127.0.0.1", 7000);
    must(connect(connected[1], &name.any, size(&name)));
    struct sockaddr_storage own;
    getsockname(connected[1], (void *)&own, &(socklen_t){sizeof own});
    name = v4("127.0.0.1", ntohs(((struct sockaddr_in *)&own)->sin_port));
    must(connect(connected[0], &name.any, size(&name)));
    rich = make(AF_INET6, 0);
    for (size_t o = 0; o < COUNT(options); o++) {
        int before = option(rich, options[o].level, options[o].name);
        set(rich, options[o].level, options[o].name, options[o].value);
        values[o] = option(rich, options[o].level, options[o].name);
        if (before == values[o]) give_up(options[o].what, __LINE__);
    }
    set(rich, IPPROTO_IPV6, IPV6_MULTICAST_IF, lo);
    set(rich, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(lo));
    struct in_addr here = {htonl(INADDR_LOOPBACK)};
    must(setsockopt(rich, IPPROTO_IP, IP_MULTICAST_IF, &here, sizeof here));
    for (int i = 0; i < 2; i++) {
        twins[i] = make(AF_INET, 0);
        set(twins[i], SOL_SOCKET, SO_REUSEPORT, 1);
        name = v4("127.0.0.1", 7100);
        must(bind(twins[i], &name.any, size(&name)));
    }
    for (int i = 0; i < 3; i++) {
        shut[i] = i ? bound(v4("127.0.0.1", 7200 + i), 0) : make(AF_INET, 0);
        shutdown(shut[i], i == 2 ? SHUT_WR : SHUT_RD);   // ENOTCONN, and done
    }
    fresh = make(AF_INET, 0);
    // IPv4 by an AF_INET6 socket; of IPv6 from one sender alone. A third has the port, and is in no group.
    member4 = make(AF_INET6, 0), member6 = make(AF_INET6, 0), bystander = make(AF_INET6, 0);
    int three[] = {member4, member6, bystander};
    for (int i = 0; i < 3; i++) {
        set(three[i], SOL_SOCKET, SO_REUSEADDR, 1);
        set(three[i], IPPROTO_IP, IP_MULTICAST_ALL, 0);
        set(three[i], IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
        name = v6("::", 7300);
        must(bind(three[i], &name.any, size(&name)));
    }
    join(member4, IPPROTO_IP, v4("224.1.1.5", 0));
    struct group_source_req source = {.gsr_interface = lo};
    name = v6("ff02::1234", 0);
    memcpy(&source.gsr_group, &name, size(&name));
    name = v6("::1", 0);
    memcpy(&source.gsr_source, &name, size(&name));
    must(setsockopt(member6, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, &source, sizeof source));
}

static void check(void) {
    for (int i = 0; all(i) >= 0; i++) {
        struct sockaddr_storage own, peer;
        addresses(all(i), &own, &peer);
        expect(!memcmp(&own, &names[i], sizeof own), "socket %d has another address", i);
        expect(!memcmp(&peer, &peers[i], sizeof peer), "socket %d has another peer", i);
    }
    union name name;
    int client = make(AF_INET, 0), client6 = make(AF_INET6, 0), lite_client = make(AF_INET, IPPROTO_UDPLITE);
    name = v4("127.0.0.1", 53), expect_datagram(client, &name, any4, "any4");
    name = v6("::1", 53), expect_datagram(client6, &name, any6, "any6");
    name = v4("127.0.0.1", 5353), expect_datagram(client, &name, mapped, "mapped");
    name = v4("127.0.0.1", 53), expect_datagram(lite_client, &name, lite, "lite");
    struct sockaddr_storage own, peer;
    addresses(ephemeral, &own, &peer);
    name.v4 = *(struct sockaddr_in *)&own, expect_datagram(client, &name, ephemeral, "ephemeral");
    expect_datagram(connected[0], 0, connected[1], "connected, IPv4");
    expect_datagram(connected[1], 0, connected[0], "connected, mapped");
    name = v4("127.0.0.1", 7000);
    sendto(client, "x", 1, 0, &name.any, size(&name));
    expect_nothing(connected[0], "the connected socket");
    for (size_t o = 0; o < COUNT(options); o++) {
        int is = option(rich, options[o].level, options[o].name);
        expect(is == values[o], "%s is %d, not %d", options[o].what, is, values[o]);
    }
    expect(option(rich, IPPROTO_IPV6, IPV6_MULTICAST_IF) == lo, "IPV6_MULTICAST_IF has changed");
    expect(option(rich, IPPROTO_IP, IP_UNICAST_IF) == (int)htonl(lo), "IP_UNICAST_IF has changed");
    expect(option(rich, IPPROTO_IP, IP_MULTICAST_IF) == (int)htonl(INADDR_LOOPBACK), "IP_MULTICAST_IF has changed");
    expect(option(lite, IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV) == 8, "the checksum covers %d", option(lite, IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV));
    expect(option(lite, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE, "UDP-lite is another protocol");
    for (int i = 0; i < 2; i++) {
        expect(option(twins[i], SOL_SOCKET, SO_REUSEPORT) == 1, "SO_REUSEPORT is gone");
        expect((revents(shut[i]) & (POLLIN | POLLRDHUP | POLLHUP)) == (POLLIN | POLLRDHUP), "socket %d is shut down otherwise", i);
    }
    name = v4("127.0.0.1", 53);
    expect(!revents(shut[2]) && sendto(shut[2], "x", 1, MSG_NOSIGNAL, &name.any, size(&name)) < 0 && errno == EPIPE, "a socket sends though it is shut down");
    expect(!revents(fresh) && option(fresh, SOL_SOCKET, SO_ERROR) == 0, "an unused socket is not as new");
    // Groups.
    struct group_filter *joined = filter(member4, IPPROTO_IP, v4("224.1.1.5", 0));
    expect(joined && joined->gf_fmode == MCAST_EXCLUDE && !joined->gf_numsrc, "224.1.1.5 is joined otherwise");
    joined = filter(member6, IPPROTO_IPV6, v6("ff02::1234", 0));
    expect(joined && joined->gf_fmode == MCAST_INCLUDE && joined->gf_numsrc == 1, "ff02::1234 is joined otherwise");
    expect(!filter(bystander, IPPROTO_IP, v4("224.1.1.5", 0)) && !filter(member6, IPPROTO_IP, v4("224.1.1.5", 0)), "others are members, too");
    struct ip_mreqn at = {.imr_ifindex = lo};
    must(setsockopt(client, IPPROTO_IP, IP_MULTICAST_IF, &at, sizeof at));
    name = v4("224.1.1.5", 7300), expect_datagram(client, &name, member4, "group of IPv4");
    expect_nothing(bystander, "who is in no group");
    expect_nothing(member6, "who is in another group");
    close(client), close(client6), close(lite_client);
}

int main(void) {
    begin();
    set_up();
    for (int i = 0; all(i) >= 0; i++) addresses(all(i), &names[i], &peers[i]);
    serve_checks(check);
}
