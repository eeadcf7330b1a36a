// A raw socket in which a packet waits.
// refused: datagrams
// capabilities: CAP_NET_RAW
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int raw = must(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 253));
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    must((int)sendto(raw, "text", 4, 0, (void *)&here, sizeof here));
    note("descriptor %d\n", raw);
    ready();
    for (;;) {
        await_question();
        char packet[100] = "";
        expect(recv(raw, packet, sizeof packet, MSG_PEEK) == 24 && !strcmp(packet + 20, "text"), "the packet is gone");
        verdict();
    }
}
