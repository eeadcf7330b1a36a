// A part of a datagram that is yet to be sent (MSG_MORE).
// refused: not sent
#include "workload.h"
#include <arpa/inet.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int ends[2];
    struct sockaddr_in here = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    for (int i = 0; i < 2; i++) ends[i] = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(bind(ends[0], (struct sockaddr *)&here, sizeof here));
    must(connect(ends[1], (struct sockaddr *)&here, sizeof here));
    must(send(ends[1], "he", 2, MSG_MORE));
    note("descriptor %d\n", ends[1]);
    ready();
    for (;;) {
        await_question();
        char got[9] = "";
        expect(recv(ends[0], got, 8, MSG_DONTWAIT) < 0, "'%s' was sent", got);
        must(send(ends[1], "llo", 3, 0));
        expect(recv(ends[0], got, 8, 0) == 5 && !strcmp(got, "hello"), "'%s' came", got);
        must(send(ends[1], "he", 2, MSG_MORE));
        verdict();
    }
}
