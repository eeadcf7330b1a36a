// MPTCP sockets: one that listens for both families with its options, and a new one. Peers of both kinds still connect.
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int listener, fresh;
static const struct option { int level, name, value; const char *what; } options[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"}, {SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"},
    {IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"}, {IPPROTO_TCP, TCP_KEEPIDLE, 77, "TCP_KEEPIDLE"},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 7, "TCP_DEFER_ACCEPT"}, {IPPROTO_IP, IP_TOS, 0x10, "IP_TOS"},
};
static int values[COUNT(options)];

static int option(int socket, int level, int name) {
    int is = -1;
    getsockopt(socket, level, name, &is, &(socklen_t){sizeof is});
    return is;
}

static void expect_connection(int proto) {
    struct sockaddr_in there = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, proto);
    expect(!connect(client, (struct sockaddr *)&there, sizeof there), "protocol %d cannot connect: %s", proto, strerror(errno));
    expect(send(client, "hello", 5, MSG_NOSIGNAL) == 5, "protocol %d cannot send", proto);
    int server = accept4(listener, 0, 0, SOCK_CLOEXEC);
    char got[6] = "";
    expect(server >= 0 && recv(server, got, 5, MSG_WAITALL) == 5 && !strcmp(got, "hello"), "protocol %d said '%s'", proto, got);
    int is = option(server, SOL_SOCKET, SO_PROTOCOL);
    expect(is == proto, "a peer of protocol %d has a connection of %d", proto, is);
    struct linger at_once = {1, 0};
    setsockopt(server, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(server), close(client);
}

int main(void) {
    begin();
    fresh = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    listener = must(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    for (size_t o = 0; o < COUNT(options); o++) {
        must(setsockopt(listener, options[o].level, options[o].name, &options[o].value, sizeof(int)));
        values[o] = option(listener, options[o].level, options[o].name);
    }
    struct sockaddr_in6 here = {AF_INET6, htons(4321), 0, IN6ADDR_ANY_INIT, 0};
    must(bind(listener, (struct sockaddr *)&here, sizeof here));
    must(listen(listener, 17));
    ready();
    for (;;) {
        await_question();
        for (size_t o = 0; o < COUNT(options); o++) {
            int is = option(listener, options[o].level, options[o].name);
            expect(is == values[o], "%s is %d, not %d", options[o].what, is, values[o]);
        }
        expect(option(listener, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP && option(fresh, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP, "MPTCP is gone");
        struct tcp_info info = {0};
        getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info});
        expect(info.tcpi_state == TCP_LISTEN && info.tcpi_sacked == 17, "state %d, backlog %u", info.tcpi_state, info.tcpi_sacked);
        expect_connection(IPPROTO_TCP);
        expect_connection(IPPROTO_MPTCP);
        verdict();
    }
}
