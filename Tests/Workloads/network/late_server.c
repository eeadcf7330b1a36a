// A server for peers outside of the container that accepts them at the first question, not before.
// checkpoint: --tcp-established
#include "workload.h"
#include <arpa/inet.h>
#include <sys/socket.h>

static int listener;

static void check(void) {
    for (int i = 0; questions == 1 && i < 2; i++) {
        int peer = accept4(listener, 0, 0, SOCK_CLOEXEC);
        if (peer < 0) return expect(false, "peer %d does not wait: %s", i, strerror(errno));
        char bytes[20];
        for (int word = 0; word < 2; word++) {
            ssize_t count = recv(peer, bytes, sizeof bytes, 0);
            expect(count == 5 && !memcmp(bytes, "hello", 5), "peer %d: %zd bytes", i, count);
            expect(send(peer, "there", 5, MSG_NOSIGNAL) == 5, "peer %d gets nothing: %s", i, strerror(errno));
        }
        close(peer);
    }
    expect(accept(listener, 0, 0) < 0 && errno == EAGAIN, "somebody else waits");
}

int main(void) {
    begin();
    struct sockaddr_in6 any = {AF_INET6, htons(4003), 0, IN6ADDR_ANY_INIT, 0};
    listener = must(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    must(bind(listener, (struct sockaddr *)&any, sizeof any));
    must(listen(listener, 1));
    serve_checks(check);
}
