// Raw IP sockets and those of pings: new, bound, connected, disconnected, shut down; their filters, options and groups. Each still
// receives what it did, and nothing else.
// capabilities: CAP_NET_RAW
// sysctl: net.ipv4.ping_group_range=0 100
#include "workload.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>

#define PROTO 253
#define OTHER 200
#define SOL_RAW 255
#define ICMP_FILTER 1   // linux/icmp.h

enum { ANY, BOUND, CONNECTED, LOST, SHUT, MEMBER, SENDER, ECHO, OF_UDP, SIX, CONNECTED6, ECHO6, PING, PING_CONNECTED, PING6, PING_NEW, ALL };
static const struct kind { int family, type, proto; } kinds[ALL] = {
    [ANY] = {AF_INET, SOCK_RAW, PROTO}, [BOUND] = {AF_INET, SOCK_RAW, PROTO}, [CONNECTED] = {AF_INET, SOCK_RAW, PROTO},
    [LOST] = {AF_INET, SOCK_RAW, PROTO}, [SHUT] = {AF_INET, SOCK_RAW, PROTO}, [MEMBER] = {AF_INET, SOCK_RAW, OTHER},
    [SENDER] = {AF_INET, SOCK_RAW, IPPROTO_RAW}, [ECHO] = {AF_INET, SOCK_RAW, IPPROTO_ICMP}, [OF_UDP] = {AF_INET, SOCK_RAW, IPPROTO_UDP},
    [SIX] = {AF_INET6, SOCK_RAW, PROTO}, [CONNECTED6] = {AF_INET6, SOCK_RAW, PROTO}, [ECHO6] = {AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
    [PING] = {AF_INET, SOCK_DGRAM, IPPROTO_ICMP}, [PING_CONNECTED] = {AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
    [PING6] = {AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6}, [PING_NEW] = {AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
};
static const struct option { int socket, level, name, value; } options[] = {
    {BOUND, IPPROTO_IP, IP_HDRINCL, 1}, {BOUND, IPPROTO_IP, IP_NODEFRAG, 1}, {BOUND, IPPROTO_IP, IP_TTL, 9},
    {BOUND, SOL_SOCKET, SO_RCVBUF, 30000}, {ANY, IPPROTO_IP, IP_PKTINFO, 1}, {SIX, SOL_RAW, IPV6_CHECKSUM, 4},
    {SIX, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1}, {SIX, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 7}, {CONNECTED6, SOL_RAW, IPV6_HDRINCL, 1},
    {ECHO, SOL_RAW, ICMP_FILTER, (int)~(1u << ICMP_ECHOREPLY)}, {PING, IPPROTO_IP, IP_RECVTTL, 1}, {PING, IPPROTO_IP, IP_TOS, 0x10},
    {PING6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
};
static int sockets[ALL], values[COUNT(options)];
static struct sockaddr_storage names[ALL], peers[ALL];
static struct icmp6_filter filter6;

static int option(int socket, int level, int name) {
    int is = -1;
    getsockopt(socket, level, name, &is, &(socklen_t){sizeof is});
    return is;
}

static void addresses(int socket, struct sockaddr_storage *own, struct sockaddr_storage *peer) {
    memset(own, 0, sizeof *own), memset(peer, 0, sizeof *peer);
    getsockname(socket, (void *)own, &(socklen_t){sizeof *own});
    getpeername(socket, (void *)peer, &(socklen_t){sizeof *peer});
}

static struct sockaddr_in v4(const char *address, int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &name.sin_addr);
    return name;
}

static struct sockaddr_in6 v6(int port) {
    return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}

/// Says how many packets wait, and takes them.
static int packets(int i) {
    char room[200];
    int count = 0;
    while (recv(sockets[i], room, sizeof room, MSG_DONTWAIT) >= 0) count++;
    return count;
}

/// Sends, and expects what comes to be received by these sockets alone, each once; −1 ends them.
static void expect_at(const char *what, int sender, const void *bytes, size_t size, const void *to, socklen_t length, const int *receivers) {
    expect(sendto(sender, bytes, size, 0, to, length) == (ssize_t)size, "%s: cannot send: %s", what, strerror(errno));
    for (int i = 0; i < ALL; i++) {
        bool receives = false;
        for (const int *one = receivers; *one >= 0; one++) receives |= *one == i;
        struct pollfd wait = {sockets[i], POLLIN, 0};
        if (receives) poll(&wait, 1, 2000);
        int got = packets(i);
        expect(got == receives, "%s: socket %d got %d packets", what, i, got);
    }
}

static struct { unsigned char head[20]; char text[4]; } packet = {{0x45, 0, 0, 24, 0, 0, 0, 0, 9, PROTO}, "raw"};

static void address(const char *from, const char *to) {
    inet_pton(AF_INET, from, packet.head + 12);
    inet_pton(AF_INET, to, packet.head + 16);
}

static void set_up(void) {
    int lo = must((int)if_nametoindex("lo"));
    struct sockaddr_in here = v4("127.0.0.1", 0), away = v4("127.0.0.2", 0);
    struct sockaddr_in6 here6 = v6(0);
    for (int i = 0; i < ALL; i++) sockets[i] = must(socket(kinds[i].family, kinds[i].type | SOCK_CLOEXEC, kinds[i].proto));
    must(bind(sockets[BOUND], (void *)&away, sizeof away));
    must(connect(sockets[CONNECTED], (void *)&away, sizeof away));
    must(connect(sockets[LOST], (void *)&here, sizeof here));
    must(connect(sockets[LOST], &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
    shutdown(sockets[SHUT], SHUT_RD);   // ENOTCONN, and done
    struct sockaddr_in nowhere = v4("127.0.0.9", 0);
    must(bind(sockets[SHUT], (void *)&nowhere, sizeof nowhere));
    struct ip_mreqn group = {.imr_ifindex = lo};
    inet_pton(AF_INET, "224.1.1.6", &group.imr_multiaddr);
    must(setsockopt(sockets[MEMBER], IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
    must(setsockopt(sockets[MEMBER], IPPROTO_IP, IP_MULTICAST_ALL, &(int){0}, sizeof(int)));
    must(bind(sockets[SIX], (void *)&here6, sizeof here6));
    here6.sin6_port = htons(77);
    must(connect(sockets[CONNECTED6], (void *)&here6, sizeof here6));
    ICMP6_FILTER_SETBLOCKALL(&filter6);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter6);
    must(setsockopt(sockets[ECHO6], IPPROTO_ICMPV6, ICMP6_FILTER, &filter6, sizeof filter6));
    here.sin_port = htons(1234);
    must(bind(sockets[PING], (void *)&here, sizeof here));
    // Behind that of IPv6 in the kernel's table, so that the list of IPv6 has it, too.
    struct sockaddr_in behind = v4("127.0.0.1", 4321 - 64);
    must(bind(sockets[PING_CONNECTED], (void *)&behind, sizeof behind));
    must(connect(sockets[PING_CONNECTED], (void *)&here, sizeof here));
    here6.sin6_port = htons(4321);
    must(bind(sockets[PING6], (void *)&here6, sizeof here6));
    for (size_t o = 0; o < COUNT(options); o++) {
        int socket = sockets[options[o].socket], before = option(socket, options[o].level, options[o].name);
        must(setsockopt(socket, options[o].level, options[o].name, &options[o].value, sizeof(int)));
        values[o] = option(socket, options[o].level, options[o].name);
        if (before == values[o]) give_up("an option", __LINE__ + (int)o);
    }
    for (int i = 0; i < ALL; i++) addresses(sockets[i], &names[i], &peers[i]);
}

static void check(void) {
    for (int i = 0; i < ALL; i++) {
        struct sockaddr_storage own, peer;
        addresses(sockets[i], &own, &peer);
        expect(!memcmp(&own, &names[i], sizeof own), "socket %d has another address", i);
        expect(!memcmp(&peer, &peers[i], sizeof peer), "socket %d has another peer", i);
        expect(option(sockets[i], SOL_SOCKET, SO_TYPE) == kinds[i].type, "socket %d is of another type", i);
        expect(option(sockets[i], SOL_SOCKET, SO_PROTOCOL) == kinds[i].proto, "socket %d is of another protocol", i);
    }
    for (size_t o = 0; o < COUNT(options); o++) {
        int is = option(sockets[options[o].socket], options[o].level, options[o].name);
        expect(is == values[o], "option %d/%d of socket %d was %d, is %d", options[o].level, options[o].name, options[o].socket, values[o], is);
    }
    struct icmp6_filter filter = {0};
    getsockopt(sockets[ECHO6], IPPROTO_ICMPV6, ICMP6_FILTER, &filter, &(socklen_t){sizeof filter});
    expect(!memcmp(&filter, &filter6, sizeof filter), "the filter of ICMPv6 has changed");
    expect(option(sockets[ANY], IPPROTO_IP, IP_HDRINCL) == 0, "another socket's option");

    int any = must(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)), udp = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int six = must(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, PROTO)), ends = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in to = v4("127.0.0.1", 0), away = v4("127.0.0.2", 0), group = v4("224.1.1.6", 0);
    packet.head[9] = PROTO;
    address("127.0.0.1", "127.0.0.1");
    expect_at("to anybody", any, &packet, sizeof packet, &to, sizeof to, (int[]){ANY, -1});
    address("127.0.0.1", "127.0.0.2");
    expect_at("to the bound one", sockets[BOUND], &packet, sizeof packet, &away, sizeof away, (int[]){ANY, BOUND, -1});
    address("127.0.0.2", "127.0.0.1");
    expect_at("from its peer", sockets[SENDER], &packet, sizeof packet, &to, sizeof to, (int[]){ANY, CONNECTED, -1});
    expect(send(sockets[CONNECTED], "four", 4, 0) == 4, "the connected one cannot send: %s", strerror(errno));
    expect(within(2, packets(ANY) == 1) && packets(BOUND) == 1, "what the connected one sends does not come");
    expect(send(sockets[LOST], "four", 4, 0) < 0 && errno == EDESTADDRREQ, "the disconnected one has a peer");
    packet.head[9] = OTHER;
    address("127.0.0.1", "224.1.1.6");
    must(setsockopt(any, IPPROTO_IP, IP_MULTICAST_IF, &(struct in_addr){htonl(INADDR_LOOPBACK)}, sizeof(struct in_addr)));
    expect_at("to the group", any, &packet, sizeof packet, &group, sizeof group, (int[]){MEMBER, -1});
    must(bind(ends, (void *)&to, sizeof to));
    getsockname(ends, (void *)&to, &(socklen_t){sizeof to});
    expect_at("to a UDP port", udp, "four", 4, &to, sizeof to, (int[]){OF_UDP, -1});
    struct sockaddr_in6 to6 = v6(0);
    char four[8] = "four";
    expect_at("over IPv6", six, four, sizeof four, &to6, sizeof to6, (int[]){CONNECTED6, -1});   // SIX finds no checksum
    struct icmphdr echo = {.type = ICMP_ECHO};
    to.sin_port = 0;
    expect_at("a ping", sockets[PING], &echo, sizeof echo, &to, sizeof to, (int[]){PING, ECHO, -1});
    expect(send(sockets[PING_CONNECTED], &echo, sizeof echo, 0) == sizeof echo, "the connected ping cannot send: %s", strerror(errno));
    expect(within(2, packets(PING_CONNECTED) == 1) && packets(ECHO) == 1, "the connected ping gets no answer");
    struct icmp6_hdr echo6 = {.icmp6_type = ICMP6_ECHO_REQUEST};
    expect_at("a ping over IPv6", sockets[PING6], &echo6, sizeof echo6, &to6, sizeof to6, (int[]){PING6, ECHO6, -1});
    struct pollfd ended = {sockets[SHUT], POLLRDHUP, 0};
    expect(poll(&ended, 1, 0) == 1 && ended.revents == POLLRDHUP, "the one that was shut down says %x", ended.revents);
    for (int i = 0; i < ALL; i++) packets(i);
    close(any), close(udp), close(six), close(ends);
}

int main(void) {
    begin();
    set_up();
    check();
    if (my_faults[0]) give_up(my_faults, __LINE__);
    serve_checks(check);
}
