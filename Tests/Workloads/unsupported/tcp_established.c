// A TCP connection between two descriptors of one process.
// refused: tcp
#include "workload.h"
#include <arpa/inet.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int listener = must(socket(AF_INET, SOCK_STREAM, 0)), client = must(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 1));
    must(connect(client, (struct sockaddr *)&address, sizeof address));
    int peer = must(accept(listener, 0, 0));
    must(write(client, "in flight", 9));
    note("descriptor %d\n", client);
    ready();
    for (;;) {
        await_question();
        char bytes[16];
        expect(read(peer, bytes, 16) == 9 && !memcmp(bytes, "in flight", 9), "the connection lost its content");
        must(write(client, "in flight", 9));
        verdict();
    }
}
