// A connected UDP socket whose peer has no such port, and whose program has not read that yet.
// refused: error
#include "workload.h"
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

static void fail(int socket) {
    must(send(socket, "x", 1, 0));
    struct pollfd wait = {socket, 0, 0};
    if (poll(&wait, 1, 5000) != 1) give_up("poll", __LINE__);
}

int main(void) {
    begin();
    int lonely = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in nobody = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    must(connect(lonely, (struct sockaddr *)&nobody, sizeof nobody));
    fail(lonely);
    note("descriptor %d\n", lonely);
    ready();
    for (;;) {
        await_question();
        expect(recv(lonely, &(char){0}, 1, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED, "the error is gone: %s", strerror(errno));
        fail(lonely);
        verdict();
    }
}
