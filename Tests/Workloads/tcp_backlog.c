// TCP connections that wait to be accepted, over IPv4, IPv6 and IPv4 in IPv6, in their order: with bytes, without, with more
// bytes than there is room for, ended by the peer; at a socket that takes only connections with bytes, too.
// checkpoint: --tcp-established
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { EMPTY, SOME, ENDED, MUCH, KINDS };
enum { V4, V6, DEFERRED, LISTENERS };
static int listeners[LISTENERS];
static struct client { int socket, listener, kind; unsigned long written; struct tcp_info info; } clients[2 * KINDS + 3];
static int count;

static unsigned char byte_at(unsigned long position) { return position * 7 + position / 251; }
static unsigned char room[65536];

static void listen_at(int i, int family, int port) {
    struct sockaddr_in6 any = {family, htons(port), 0, IN6ADDR_ANY_INIT, 0};
    if (family == AF_INET) ((struct sockaddr_in *)&any)->sin_addr.s_addr = INADDR_ANY;
    listeners[i] = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    must(bind(listeners[i], (struct sockaddr *)&any, family == AF_INET ? sizeof(struct sockaddr_in) : sizeof any));
    must(listen(listeners[i], 16));
}

static void write_bytes(struct client *client, unsigned long most) {
    while (client->written < most) {
        unsigned long part = most - client->written < sizeof room ? most - client->written : sizeof room;
        for (unsigned long i = 0; i < part; i++) room[i] = byte_at(client->written + i);
        ssize_t done = send(client->socket, room, part, MSG_NOSIGNAL);
        if (done < 0) return expect(errno == EAGAIN, "send: %s", strerror(errno));
        client->written += done;
    }
}

static void call(int listener, int family, int port, const char *host, int kind) {
    struct client *client = &clients[count++];
    struct sockaddr_in6 address = {family, htons(port), 0, IN6ADDR_ANY_INIT, 0};
    must(inet_pton(family, host, family == AF_INET ? (void *)&((struct sockaddr_in *)&address)->sin_addr
                                                   : (void *)&address.sin6_addr) == 1 ? 0 : -1);
    *client = (struct client){.listener = listener, .kind = kind};
    client->socket = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(client->socket, (struct sockaddr *)&address,
                 family == AF_INET ? sizeof(struct sockaddr_in) : sizeof address));
    must(fcntl(client->socket, F_SETFL, O_NONBLOCK));
    if (kind == SOME || kind == ENDED) write_bytes(client, 1000 + 7 * count);
    if (kind == MUCH) write_bytes(client, 300000);
    if (kind == ENDED) must(shutdown(client->socket, SHUT_WR));
}

static void call_all(void) {
    count = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        call(V4, AF_INET, 80, "127.0.0.1", kind);
        call(V6, AF_INET6, 8080, kind % 2 ? "::1" : "::ffff:127.0.0.1", kind);
    }
    call(V4, AF_INET, 80, "127.0.0.2", SOME);
    call(V6, AF_INET6, 8080, "::ffff:127.0.0.1", MUCH);
    call(DEFERRED, AF_INET, 81, "127.0.0.1", SOME);
    for (int i = 0; i < count; i++) {
        socklen_t size = sizeof clients[i].info;
        must(getsockopt(clients[i].socket, IPPROTO_TCP, TCP_INFO, &clients[i].info, &size));
    }
}

/// Reads what one has written, and answers.
static void serve(int i, struct client *client, int peer) {
    unsigned long got = 0;
    long long start = now(CLOCK_MONOTONIC);
    while (got < client->written && now(CLOCK_MONOTONIC) - start < 10 * SECOND) {
        ssize_t part = recv(peer, room, sizeof room, MSG_DONTWAIT);
        if (part < 0 && errno == EAGAIN) {
            pause_ms(1);
            continue;
        }
        if (part <= 0) break;
        for (ssize_t j = 0; j < part; j++)
            if (room[j] != byte_at(got + j)) return expect(false, "connection %d: another byte at %lu", i, got + j);
        got += part;
    }
    expect(got == client->written, "connection %d: %lu of %lu bytes", i, got, client->written);
    char byte;
    ssize_t more = recv(peer, &byte, 1, MSG_DONTWAIT);
    if (client->kind == ENDED) expect(within(5, recv(peer, &byte, 1, MSG_DONTWAIT) == 0), "connection %d does not end", i);
    else expect(more < 0 && errno == EAGAIN, "connection %d: %zd bytes too many", i, more);
    expect(send(peer, "yes", 3, MSG_NOSIGNAL) == 3, "connection %d: no answer: %s", i, strerror(errno));
    expect(within(5, recv(client->socket, room, 10, MSG_DONTWAIT) == 3), "connection %d gets no answer", i);
    struct tcp_info info[2];
    socklen_t size = sizeof *info;
    must(getsockopt(client->socket, IPPROTO_TCP, TCP_INFO, &info[0], &size));
    must(getsockopt(peer, IPPROTO_TCP, TCP_INFO, &info[1], &size));
    expect(info[0].tcpi_options == client->info.tcpi_options && info[1].tcpi_options == info[0].tcpi_options,
           "connection %d: options %x and %x, not %x", i, info[0].tcpi_options, info[1].tcpi_options,
           client->info.tcpi_options);
    expect(info[1].tcpi_rcv_wscale == client->info.tcpi_snd_wscale
               && info[1].tcpi_snd_wscale == client->info.tcpi_rcv_wscale,
           "connection %d: other scales", i);
}

static void check(void) {
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[i];
        struct sockaddr_storage own = {0}, seen = {0};
        socklen_t size = sizeof own, other = sizeof seen;
        must(getsockname(client->socket, (struct sockaddr *)&own, &size));
        int peer = accept4(listeners[client->listener], (struct sockaddr *)&seen, &other, SOCK_CLOEXEC);
        expect(peer >= 0, "connection %d is not there: %s", i, strerror(errno));
        if (peer >= 0) {
            expect(size == other && !memcmp(&own, &seen, size), "connection %d: is another one", i);
            serve(i, client, peer);
            close(peer);
        }
        close(client->socket);
    }
    for (int i = 0; i < LISTENERS; i++)
        expect(accept(listeners[i], 0, 0) < 0 && errno == EAGAIN, "somebody else waits at socket %d", i);
    int patience = 0;
    socklen_t size = sizeof patience;
    must(getsockopt(listeners[DEFERRED], IPPROTO_TCP, TCP_DEFER_ACCEPT, &patience, &size));
    expect(patience > 0, "TCP_DEFER_ACCEPT is gone");
    call_all();
}

int main(void) {
    begin();
    int patience = 5;
    listen_at(V4, AF_INET, 80);
    listen_at(V6, AF_INET6, 8080);
    listen_at(DEFERRED, AF_INET, 81);
    must(setsockopt(listeners[DEFERRED], IPPROTO_TCP, TCP_DEFER_ACCEPT, &patience, sizeof patience));
    call_all();
    serve_checks(check);
}
