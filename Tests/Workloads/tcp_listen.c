// Listening TCP sockets with their options: after a restore a child connects to each of them.
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static struct listener { int socket, family, port; } listeners[3];
static atomic_int *accepted;

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
        struct tcp_info info;
        expect(!getsockopt(listeners[0].socket, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}) && info.tcpi_sacked == 17,
               "the backlog is %u, not 17", info.tcpi_sacked);
        int before = atomic_load(accepted);
        ask_crew();
        expect(within(5, atomic_load(accepted) == before + 3), "%d connections were accepted", atomic_load(accepted) - before);
        answer();
    }
}
