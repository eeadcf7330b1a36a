// A unix socket in which a connection waits to be accepted that is closed at the other end: what was sent by it nobody can see.
// refused: closed
#include "workload.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(void) {
    begin();
    int listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {AF_UNIX, "/state/socket"};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 50));
    note("descriptor %d\n", listener);
    ready();
    for (int waiting = 0;; waiting--) {
        for (; waiting < 2; waiting++) {
            int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            expect(!connect(client, (struct sockaddr *)&address, sizeof address) && write(client, "x", 1) == 1, "cannot connect");
            close(client);
        }
        await_question();
        char byte = 0;
        int server = accept(listener, 0, 0);
        expect(read(server, &byte, 1) == 1 && byte == 'x' && !read(server, &byte, 1), "the connection is gone");
        close(server);
        verdict();
    }
}
