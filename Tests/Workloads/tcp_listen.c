// Listening TCP sockets with their options: after a restore a child connects to each of them. And the options of one that
// listens elsewhere, and of one that does nothing yet.
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static struct listener { int socket, family, port; } listeners[3];
static atomic_int *accepted;

static const struct option { int level, name, value; const char *what; } options[] = {
    {SOL_SOCKET, SO_ZEROCOPY, 1, "SO_ZEROCOPY"}, {SOL_SOCKET, SO_TIMESTAMP, 1, "SO_TIMESTAMP"},
    {SOL_SOCKET, SO_MAX_PACING_RATE, 1234567, "SO_MAX_PACING_RATE"}, {SOL_SOCKET, SO_INCOMING_CPU, 1, "SO_INCOMING_CPU"},
    {SOL_SOCKET, SO_NO_CHECK, 1, "SO_NO_CHECK"}, {SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1, "SO_SELECT_ERR_QUEUE"},
    {IPPROTO_TCP, TCP_MAXSEG, 777, "TCP_MAXSEG"}, {IPPROTO_TCP, TCP_CORK, 1, "TCP_CORK"},
    {IPPROTO_TCP, TCP_SYNCNT, 3, "TCP_SYNCNT"}, {IPPROTO_TCP, TCP_LINGER2, 17, "TCP_LINGER2"},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 7, "TCP_DEFER_ACCEPT"}, {IPPROTO_TCP, TCP_WINDOW_CLAMP, 12345, "TCP_WINDOW_CLAMP"},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 9999, "TCP_USER_TIMEOUT"},
    {IPPROTO_TCP, TCP_FASTOPEN, 5, "TCP_FASTOPEN"}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096, "TCP_NOTSENT_LOWAT"},
    {IPPROTO_TCP, TCP_SAVE_SYN, 1, "TCP_SAVE_SYN"}, {IPPROTO_IP, IP_TOS, 0x10, "IP_TOS"},
    {IPPROTO_IP, IP_TTL, 33, "IP_TTL"}, {IPPROTO_IP, IP_FREEBIND, 1, "IP_FREEBIND"},
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "IP_MTU_DISCOVER"}, {IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR"},
    {IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"}, {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT"},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44, "IPV6_UNICAST_HOPS"}, {IPPROTO_IPV6, IPV6_TCLASS, 0x20, "IPV6_TCLASS"},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS"}, {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"},
};
static struct { int socket, values[COUNT(options)]; } rich[2];

static void set(int socket, int level, int name, int value) { must(setsockopt(socket, level, name, &value, sizeof value)); }

static void expect_option(int socket, const char *what, int level, int name, int value) {
    int is = -1;
    getsockopt(socket, level, name, &is, &(socklen_t){sizeof is});
    expect(is == value, "%s is %d, not %d", what, is, value);
}

static socklen_t address_of(const struct listener *at, struct sockaddr_storage *address) {
    memset(address, 0, sizeof *address);
    if (at->family == AF_INET) {
        *(struct sockaddr_in *)address = (struct sockaddr_in){AF_INET, htons(at->port), {htonl(INADDR_LOOPBACK)}, {0}};
        return sizeof(struct sockaddr_in);
    }
    *(struct sockaddr_in6 *)address = (struct sockaddr_in6){AF_INET6, htons(at->port), 0, IN6ADDR_LOOPBACK_INIT, 0};
    return sizeof(struct sockaddr_in6);
}

static void listen_at(struct listener *at, int family, int port, bool bound_to_loopback) {
    *at = (struct listener){must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)), family, port};
    struct sockaddr_storage address;
    socklen_t size = address_of(at, &address);
    if (!bound_to_loopback) ((struct sockaddr_in *)&address)->sin_addr.s_addr = INADDR_ANY;
    set(at->socket, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET6) set(at->socket, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    must(bind(at->socket, (struct sockaddr *)&address, size));
    set(at->socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(at->socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set(at->socket, IPPROTO_TCP, TCP_KEEPIDLE, 77);
    must(listen(at->socket, 17));
}

/// A socket of every option. What the kernel makes of a value is what must come back.
static void enrich(int i, int port) {
    struct sockaddr_in6 address = {AF_INET6, htons(port), 0, IN6ADDR_LOOPBACK_INIT, 0};
    rich[i].socket = must(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    for (size_t o = 0; o < COUNT(options); o++) set(rich[i].socket, options[o].level, options[o].name, options[o].value);
    must(setsockopt(rich[i].socket, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    if (port) {
        must(bind(rich[i].socket, (struct sockaddr *)&address, sizeof address));
        must(listen(rich[i].socket, 3));
    }
    int plain = must(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    for (size_t o = 0; o < COUNT(options); o++) {
        int before = -1, *now = &rich[i].values[o];
        must(getsockopt(rich[i].socket, options[o].level, options[o].name, now, &(socklen_t){sizeof *now}));
        must(getsockopt(plain, options[o].level, options[o].name, &before, &(socklen_t){sizeof before}));
        if (before == *now) give_up(options[o].what, __LINE__);
    }
    close(plain);
}

static void expect_riches(int i) {
    char name[16] = "";
    for (size_t o = 0; o < COUNT(options); o++)
        expect_option(rich[i].socket, options[o].what, options[o].level, options[o].name, rich[i].values[o]);
    getsockopt(rich[i].socket, IPPROTO_TCP, TCP_CONGESTION, name, &(socklen_t){sizeof name});
    expect(!strcmp(name, "reno"), "TCP_CONGESTION is %s", name);
    expect_option(rich[i].socket, "SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 6);   // of IP_TOS
}

static void check_child(void) {
    for (size_t i = 0; i < COUNT(listeners); i++) {
        struct sockaddr_storage address;
        socklen_t size = address_of(&listeners[i], &address);
        int client = socket(listeners[i].family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char answer[6] = "";
        bool connected = !connect(client, (struct sockaddr *)&address, size);
        expect(connected, "cannot connect to port %d: %s", listeners[i].port, strerror(errno));
        expect(!connected || (recv(client, answer, 5, MSG_WAITALL) == 5 && !strcmp(answer, "hello")), "port %d says '%s'", listeners[i].port, answer);
        close(client);
    }
}

static void *serve(void *argument) {
    struct listener *at = argument;
    for (;;) {
        int peer = accept4(at->socket, 0, 0, SOCK_CLOEXEC);
        expect(peer >= 0, "accept at port %d: %s", at->port, strerror(errno));
        if (peer < 0) return 0;
        expect(send(peer, "hello", 5, MSG_NOSIGNAL) == 5, "send at port %d", at->port);
        recv(peer, &(char){0}, 1, 0);   // until the client closes
        struct linger at_once = {1, 0};
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer);
        atomic_fetch_add(accepted, 1);
    }
}

int main(void) {
    begin();
    listen_at(&listeners[0], AF_INET, 4321, false);
    listen_at(&listeners[1], AF_INET, 80, true);
    listen_at(&listeners[2], AF_INET6, 4321, true);
    enrich(0, 0);
    enrich(1, 4444);
    accepted = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(0, check_child);
    for (size_t i = 0; i < COUNT(listeners); i++) start_thread(serve, &listeners[i]);
    ready();
    for (;;) {
        await_question();
        for (size_t i = 0; i < COUNT(listeners); i++) {
            expect_option(listeners[i].socket, "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, 1);
            expect_option(listeners[i].socket, "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1);
            expect_option(listeners[i].socket, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1);
            expect_option(listeners[i].socket, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1);
            expect_option(listeners[i].socket, "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 77);
        }
        expect_option(listeners[2].socket, "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, 1);
        for (int i = 0; i < 2; i++) expect_riches(i);
        struct tcp_info info;
        expect(!getsockopt(listeners[0].socket, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}) && info.tcpi_sacked == 17,
               "the backlog is %u, not 17", info.tcpi_sacked);
        int before = atomic_load(accepted);
        ask_crew();
        expect(within(5, atomic_load(accepted) == before + 3), "%d connections were accepted", atomic_load(accepted) - before);
        answer();
    }
}
