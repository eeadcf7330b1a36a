// A unix socket with a name, to which others connect.
// refused: unix
#include "workload.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void) {
    begin();
    int listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un address = {AF_UNIX, "/state/socket"};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 5));
    note("descriptor %d\n", listener);
    ready();
    for (;;) {
        await_question();
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        expect(!connect(client, (struct sockaddr *)&address, sizeof address), "nobody listens: %s", strerror(errno));
        int peer = accept4(listener, 0, 0, SOCK_CLOEXEC);
        expect(peer > 0, "accept: %s", strerror(errno));
        close(peer);
        close(client);
        verdict();
    }
}
