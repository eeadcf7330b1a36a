// A unix stream with an out-of-band byte that nobody has taken.
// refused: urgent
#include "workload.h"
#include <sys/socket.h>

int main(void) {
    begin();
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    must(send(pair[0], "before", 6, 0));
    must(send(pair[0], "!", 1, MSG_OOB));
    must(send(pair[0], "after", 5, 0));
    note("descriptor %d\n", pair[1]);
    ready();
    for (;;) {
        await_question();
        char byte = 0;
        expect(recv(pair[1], &byte, 1, MSG_OOB | MSG_PEEK) == 1 && byte == '!', "the out-of-band byte is lost");
        verdict();
    }
}
