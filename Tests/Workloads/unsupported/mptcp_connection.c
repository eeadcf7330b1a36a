// An MPTCP connection.
// refused: mptcp
// checkpoint: --tcp-established
#include "workload.h"
#include <arpa/inet.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int main(void) {
    begin();
    struct sockaddr_in here = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    must(bind(listener, (struct sockaddr *)&here, sizeof here));
    must(listen(listener, 5));
    int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    must(connect(client, (struct sockaddr *)&here, sizeof here));
    int server = must(accept4(listener, 0, 0, SOCK_CLOEXEC));
    note("descriptor %d\n", client);
    ready();
    for (;;) {
        await_question();
        char got[6] = "";
        expect(send(client, "hello", 5, MSG_NOSIGNAL) == 5 && recv(server, got, 5, MSG_WAITALL) == 5 && !strcmp(got, "hello"), "'%s' came", got);
        verdict();
    }
}
