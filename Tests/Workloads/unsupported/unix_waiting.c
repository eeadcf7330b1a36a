// A unix socket in which a connection waits to be accepted.
// refused: connections
#include "workload.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void) {
    begin();
    int listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {AF_UNIX, "/state/socket"};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 5));
    int client = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(client, (struct sockaddr *)&address, sizeof address));
    note("descriptor %d\n", listener);
    ready();
    for (;;) {
        await_question();
        expect(write(client, "x", 1) == 1, "the connection is gone");
        verdict();
    }
}
