// A unix stream whose peer was closed with bytes unread: the error is yet to be told.
// refused: error
#include "workload.h"
#include <poll.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    must(send(pair[0], "unread", 6, 0));
    close(pair[1]);
    struct pollfd state = {pair[0], POLLIN, 0};
    note("descriptor %d\n", pair[0]);
    ready();
    for (;;) {
        await_question();
        expect(poll(&state, 1, 0) == 1 && state.revents & POLLERR, "the error is lost: %x", state.revents);
        verdict();
    }
}
