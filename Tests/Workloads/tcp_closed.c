// TCP connections that a restore does not keep: their ends see a reset, and nothing else of the program suffers.
// checkpoint: --tcp-close
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int ends[4];
static bool is_over;

static void join(int family, int *ends) {
    struct sockaddr_in6 address = {AF_INET6, htons(4321), 0, IN6ADDR_LOOPBACK_INIT, 0};
    socklen_t size = sizeof address;
    if (family == AF_INET) {
        *(struct sockaddr_in *)&address = (struct sockaddr_in){AF_INET, htons(4322), {htonl(INADDR_LOOPBACK)}, {0}};
        size = sizeof(struct sockaddr_in);
    }
    int listener = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)&address, size));
    must(listen(listener, 1));
    ends[0] = must(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(ends[0], (struct sockaddr *)&address, size));
    ends[1] = must(accept4(listener, 0, 0, SOCK_CLOEXEC));
}

static void expect_over(int end, bool first) {
    char byte;
    ssize_t count = recv(end, &byte, 1, MSG_DONTWAIT);
    if (first) expect(count < 0 && errno == ECONNRESET, "the first read says %zd, %s", count, strerror(errno));
    else expect(!count, "a later read says %zd, %s", count, strerror(errno));
    expect(send(end, &byte, 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "it can be written to");
}

int main(void) {
    begin();
    join(AF_INET, ends);
    join(AF_INET6, ends + 2);
    note("descriptor %d\n", ends[0]);
    ready();
    for (;;) {
        await_question();
        struct tcp_info info = {0};
        must(getsockopt(ends[0], IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}));
        bool was_over = is_over;
        is_over = info.tcpi_state == TCP_CLOSE;
        for (size_t i = 0; i < COUNT(ends); i++) {
            char byte = 0;
            if (is_over) expect_over(ends[i], !was_over);
            else expect(send(ends[i], "y", 1, MSG_NOSIGNAL) == 1 && recv(ends[i ^ 1], &byte, 1, 0) == 1 && byte == 'y', "end %zu is broken", i);
        }
        verdict();
    }
}
