// TCP connections that both sides have ended, one with bytes that nobody has read; one that the peer has reset, as the
// program knows already; one bound to a port of its own.
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static struct sockaddr_in address;
static int listener, unread, reset, bound;

static bool is_closed(int socket) {
    struct tcp_info info = {0};
    return !getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}) && info.tcpi_state == TCP_CLOSE;
}

static int join(int port, int *server) {
    int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in own = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    if (port) must(bind(client, (struct sockaddr *)&own, sizeof own));
    must(connect(client, (struct sockaddr *)&address, sizeof address));
    *server = must(accept4(listener, 0, 0, SOCK_CLOEXEC));
    return client;
}

static int end(int port, const char *last) {
    int server, client = join(port, &server);
    must(write(server, last, strlen(last)));
    must(shutdown(client, SHUT_WR));
    close(server);
    if (!within(10, is_closed(client))) give_up("a connection that ends", __LINE__);
    return client;
}

static void expect_end(int socket, const char *what) {
    char bytes[8];
    int error = -1;
    ssize_t count = recv(socket, bytes, 8, MSG_DONTWAIT);
    expect(!count, "%s: reads %zd: %s", what, count, strerror(errno));
    expect(send(socket, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "%s: writes", what);
    getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    expect(!error && is_closed(socket), "%s: %s", what, strerror(error));
    struct pollfd state = {socket, POLLIN | POLLOUT | POLLRDHUP, 0};
    expect(poll(&state, 1, 0) == 1 && state.revents == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP), "%s: polls %x", what, state.revents);
}

int main(void) {
    begin();
    int server;
    struct linger at_once = {1, 0};
    address = (struct sockaddr_in){AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 5));
    unread = end(0, "hello");
    bound = end(7777, "");
    reset = join(0, &server);
    must(setsockopt(server, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    close(server);
    if (!within(10, is_closed(reset))) give_up("a connection that is reset", __LINE__);
    char byte;
    if (read(reset, &byte, 1) >= 0 || errno != ECONNRESET) give_up("a reset", __LINE__);
    ready();
    for (;;) {
        await_question();
        char bytes[8] = "";
        expect(recv(unread, bytes, 8, MSG_PEEK | MSG_DONTWAIT) == 5 && !memcmp(bytes, "hello", 5), "the bytes are lost");
        expect_end(reset, "the one that was reset");
        expect_end(bound, "the bound one");
        struct sockaddr_in own = {0};
        getsockname(bound, (struct sockaddr *)&own, &(socklen_t){sizeof own});
        expect(own.sin_port == htons(7777), "bound to port %d", ntohs(own.sin_port));
        verdict();
    }
}
