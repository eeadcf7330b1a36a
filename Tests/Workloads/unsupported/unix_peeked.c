// An empty message at which somebody has looked already, behind another one: looking again does not show it.
// refused: empty
#include "workload.h"
#include <sys/socket.h>

static void peek_all(int socket) {
    int offset = 0;
    must(setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
    while (recv(socket, (char[8]){0}, 8, MSG_PEEK | MSG_DONTWAIT) >= 0) {}
    offset = -1;
    must(setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));
}

int main(void) {
    begin();
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
    must(send(pair[0], "first", 5, 0));
    must(send(pair[0], "", 0, 0));
    peek_all(pair[1]);
    note("descriptor %d\n", pair[1]);
    ready();
    for (;;) {
        await_question();
        char bytes[8];
        expect(recv(pair[1], bytes, 8, MSG_DONTWAIT) == 5, "the first message is lost");
        expect(recv(pair[1], bytes, 8, MSG_DONTWAIT) == 0, "the empty message is lost");
        must(send(pair[0], "first", 5, 0));
        must(send(pair[0], "", 0, 0));
        peek_all(pair[1]);
        verdict();
    }
}
