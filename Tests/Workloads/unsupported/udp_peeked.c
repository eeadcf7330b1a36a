// An empty datagram that somebody has looked at: the kernel shows it no more.
// refused: datagrams
#include "workload.h"
#include <arpa/inet.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int receiver = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in here = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    must(bind(receiver, (struct sockaddr *)&here, sizeof here));
    int sender = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(sendto(sender, "", 0, 0, (struct sockaddr *)&here, sizeof here));
    close(sender);
    must((int)recv(receiver, &(char){0}, 1, MSG_PEEK));
    note("descriptor %d\n", receiver);
    ready();
    for (;;) {
        await_question();
        expect(recv(receiver, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 0, "the datagram is gone");
        verdict();
    }
}
