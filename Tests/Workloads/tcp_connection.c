// TCP connections of a process with itself, over IPv4, IPv6 and IPv4 in IPv6: bytes in both queues, options, directions that
// have ended, more that was written than could be sent; new ones beside them.
// checkpoint: --tcp-established
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { IPV4, IPV6, MAPPED, WAYS };
static const char *const ways[] = {"IPv4", "IPv6", "IPv4 in IPv6"};
static int listeners[2];

/// One direction: a stream of bytes each of which says where it stands.
struct flow { int from, to; unsigned long written, taken; };
static struct pair {
    int client, server;
    struct flow up, down;
    struct tcp_info info[2];
    struct sockaddr_storage names[4];
} pairs[WAYS], ended[WAYS], ending[WAYS];

static unsigned char byte_at(unsigned long position) { return position * 7 + position / 251; }

static void listen_at(int i, int family) {
    struct sockaddr_in6 any = {family, htons(80), 0, IN6ADDR_ANY_INIT, 0};
    int one = 1;
    listeners[i] = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (family == AF_INET6) any.sin6_port = htons(8080);
    else ((struct sockaddr_in *)&any)->sin_addr.s_addr = INADDR_ANY;
    // Without SO_REUSEADDR the first has its port for itself.
    if (i) must(setsockopt(listeners[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    must(bind(listeners[i], (struct sockaddr *)&any, family == AF_INET ? sizeof(struct sockaddr_in) : sizeof any));
    must(listen(listeners[i], 5));
}

static socklen_t address_of(int way, struct sockaddr_storage *at) {
    memset(at, 0, sizeof *at);
    if (way == IPV4) {
        *(struct sockaddr_in *)at = (struct sockaddr_in){AF_INET, htons(80), {htonl(INADDR_LOOPBACK)}, {0}};
        return sizeof(struct sockaddr_in);
    }
    struct sockaddr_in6 *address = (struct sockaddr_in6 *)at;
    *address = (struct sockaddr_in6){AF_INET6, htons(8080), 0, IN6ADDR_LOOPBACK_INIT, 0};
    if (way == MAPPED) must(inet_pton(AF_INET6, "::ffff:127.0.0.1", &address->sin6_addr) == 1 ? 0 : -1);
    return sizeof *address;
}

static bool join(int way, struct pair *pair) {
    struct sockaddr_storage address;
    socklen_t size = address_of(way, &address);
    pair->client = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair->client < 0 || connect(pair->client, (struct sockaddr *)&address, size)) return false;
    pair->server = accept4(listeners[way != IPV4], 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (pair->server < 0 || fcntl(pair->client, F_SETFL, O_NONBLOCK)) return false;
    pair->up = (struct flow){pair->client, pair->server, 0, 0};
    pair->down = (struct flow){pair->server, pair->client, 0, 0};
    return true;
}

static void leave(struct pair *pair) {
    close(pair->client);
    close(pair->server);
}

static unsigned char room[65536];

/// Writes so many bytes, or as many as there is room for.
static void write_more(struct flow *flow, unsigned long count) {
    while (count > 0) {
        unsigned long part = count < sizeof room ? count : sizeof room;
        for (unsigned long i = 0; i < part; i++) room[i] = byte_at(flow->written + i);
        ssize_t done = send(flow->from, room, part, MSG_NOSIGNAL);
        if (done < 0) return expect(errno == EAGAIN, "write: %s", strerror(errno));
        flow->written += done;
        count -= done;
    }
}

static void take(struct flow *flow, unsigned long count, const char *what) {
    long long start = now(CLOCK_MONOTONIC);
    while (count > 0) {
        ssize_t done = recv(flow->to, room, count < sizeof room ? count : sizeof room, 0);
        if (done < 0 && errno == EAGAIN && now(CLOCK_MONOTONIC) - start < 15 * SECOND) {
            pause_ms(1);
            continue;
        }
        if (done <= 0) return expect(false, "%s: %lu bytes do not come: %s", what, count, done ? strerror(errno) : "the end");
        for (ssize_t i = 0; i < done; i++) {
            if (room[i] == byte_at(flow->taken + i)) continue;
            return expect(false, "%s: byte %lu is wrong", what, flow->taken + i);
        }
        flow->taken += done;
        count -= done;
    }
}

static void names_of(struct pair *pair, struct sockaddr_storage *names) {
    memset(names, 0, 4 * sizeof *names);
    for (int i = 0; i < 2; i++) {
        int end = i ? pair->server : pair->client;
        expect(!getsockname(end, (struct sockaddr *)&names[i], &(socklen_t){sizeof *names}), "getsockname");
        expect(!getpeername(end, (struct sockaddr *)&names[i + 2], &(socklen_t){sizeof *names}), "getpeername");
    }
}

static void information(struct pair *pair, struct tcp_info *info) {
    getsockopt(pair->client, IPPROTO_TCP, TCP_INFO, &info[0], &(socklen_t){sizeof *info});
    getsockopt(pair->server, IPPROTO_TCP, TCP_INFO, &info[1], &(socklen_t){sizeof *info});
}

static void expect_same(struct pair *pair, const char *what) {
    struct sockaddr_storage names[4];
    struct tcp_info info[2];
    names_of(pair, names);
    expect(!memcmp(names, pair->names, sizeof names), "%s: other addresses", what);
    information(pair, info);
    for (int i = 0; i < 2; i++) {
        const struct tcp_info *is = &info[i], *was = &pair->info[i];
        int error = -1;
        expect(is->tcpi_state == was->tcpi_state, "%s: state %d, not %d", what, is->tcpi_state, was->tcpi_state);
        expect((is->tcpi_options & 7) == (was->tcpi_options & 7), "%s: options %x, not %x", what, is->tcpi_options, was->tcpi_options);
        expect(is->tcpi_snd_wscale == was->tcpi_snd_wscale && is->tcpi_rcv_wscale == was->tcpi_rcv_wscale, "%s: window scales", what);
        getsockopt(i ? pair->server : pair->client, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
        expect(!error, "%s: %s", what, strerror(error));
    }
}

static const struct option { int level, name, value; const char *what; } options[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"}, {SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"},
    {SOL_SOCKET, SO_RCVBUF, 300000, "SO_RCVBUF"}, {SOL_SOCKET, SO_SNDBUF, 200000, "SO_SNDBUF"}, {SOL_SOCKET, SO_OOBINLINE, 1, "SO_OOBINLINE"},
    {IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"}, {IPPROTO_TCP, TCP_KEEPIDLE, 77, "TCP_KEEPIDLE"},
    {IPPROTO_TCP, TCP_KEEPCNT, 5, "TCP_KEEPCNT"}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 99999, "TCP_USER_TIMEOUT"},
    {IPPROTO_TCP, TCP_LINGER2, 17, "TCP_LINGER2"}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 65536, "TCP_NOTSENT_LOWAT"},
    {IPPROTO_IP, IP_TOS, 0x10, "IP_TOS"}, {IPPROTO_IP, IP_TTL, 33, "IP_TTL"},
};
static int values[COUNT(options)];

static void expect_options(int socket) {
    char name[16] = "";
    for (size_t o = 0; o < COUNT(options); o++) {
        int is = -1;
        getsockopt(socket, options[o].level, options[o].name, &is, &(socklen_t){sizeof is});
        expect(is == values[o], "%s is %d, not %d", options[o].what, is, values[o]);
    }
    getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &(socklen_t){sizeof name});
    expect(!strcmp(name, "reno"), "TCP_CONGESTION is %s", name);
}

static void set_up(int way) {
    if (!join(way, &pairs[way]) || !join(way, &ended[way]) || !join(way, &ending[way])) give_up(ways[way], __LINE__);
    if (way == IPV4) {
        int client = pairs[way].client;
        for (size_t o = 0; o < COUNT(options); o++) {
            must(setsockopt(client, options[o].level, options[o].name, &options[o].value, sizeof(int)));
            must(getsockopt(client, options[o].level, options[o].name, &values[o], &(socklen_t){sizeof(int)}));
        }
        must(setsockopt(client, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    }
    write_more(&pairs[way].down, 5000);
    take(&pairs[way].down, 1000, "first bytes");
    write_more(&pairs[way].up, way == MAPPED ? 10 : 64UL << 20);
    // FIN_WAIT2 and CLOSE_WAIT, with bytes before the end.
    write_more(&ended[way].up, 100);
    must(shutdown(ended[way].client, SHUT_WR));
    // FIN_WAIT1: the end waits behind what could not be sent.
    write_more(&ending[way].up, 64UL << 20);
    must(shutdown(ending[way].client, SHUT_WR));
    if (way == IPV6) {
        // More waits than there would be room for now.
        must(setsockopt(ending[way].client, SOL_SOCKET, SO_SNDBUF, &(int){4608}, sizeof(int)));
        must(setsockopt(ending[way].client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){1}, sizeof(int)));
    }
    pause_ms(300);   // Until no acknowledgement is under way.
    struct pair *all[] = {&pairs[way], &ended[way], &ending[way]};
    for (size_t i = 0; i < COUNT(all); i++) {
        names_of(all[i], all[i]->names);
        information(all[i], all[i]->info);
    }
}

static void check(int way) {
    struct pair *pair = &pairs[way];
    expect_same(pair, ways[way]);
    expect_same(&ended[way], "half closed");
    expect_same(&ending[way], "with an end that waits");
    if (way == IPV4) expect_options(pair->client);
    take(&pair->down, pair->down.written - pair->down.taken, "down");
    take(&pair->up, pair->up.written - pair->up.taken, "up");
    write_more(&pair->down, 4000);
    write_more(&pair->up, way == MAPPED ? 10 : 64UL << 20);
    // What came before the end stays; after it the other direction still works.
    unsigned char seen[200];
    ssize_t count = recv(ended[way].server, seen, sizeof seen, MSG_PEEK);
    expect(count == 100 && seen[99] == byte_at(99), "%zd bytes before the end", count);
    expect(send(ended[way].client, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "writes after its end");
    write_more(&ended[way].down, 3000);
    take(&ended[way].down, 3000, "from a peer that has heard the end");
    take(&ending[way].up, 10000, "before an end that waits");
    struct pair new;
    bool joined = join(way, &new);
    expect(joined, "%s: no new connection: %s", ways[way], strerror(errno));
    if (!joined) return;
    write_more(&new.up, 1000);
    take(&new.up, 1000, "new");
    leave(&new);
    information(pair, pair->info);
}

int main(void) {
    begin();
    listen_at(0, AF_INET);
    listen_at(1, AF_INET6);
    for (int way = 0; way < WAYS; way++) set_up(way);
    if (my_faults[0]) give_up(my_faults, __LINE__);
    note("descriptor %d\n", pairs[0].client);
    ready();
    for (;;) {
        await_question();
        for (int way = 0; way < WAYS; way++) check(way);
        verdict();
    }
}
