// A TCP connection that was refused while nobody waited for it: the error is yet to be told.
// refused: failed
#include "workload.h"
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    struct sockaddr_in nobody = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    struct pollfd state = {client, POLLIN, 0};
    if (!connect(client, (struct sockaddr *)&nobody, sizeof nobody)) give_up("a connection that nobody takes", __LINE__);
    if (poll(&state, 1, 10000) != 1) give_up("a connection that is refused", __LINE__);
    note("descriptor %d\n", client);
    ready();
    for (;;) {
        await_question();
        expect(poll(&state, 1, 0) == 1 && state.revents & POLLERR, "the error is lost: %x", state.revents);
        verdict();
    }
}
