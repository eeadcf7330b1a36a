// A unix socket in which a connection waits to be accepted, by which something was sent.
// refused: sent
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
    must((int)write(client, "x", 1));
    note("descriptor %d\n", client);
    ready();
    for (;;) {
        await_question();
        expect(write(client, "x", 1) == 1, "the connection is gone");
        verdict();
    }
}
