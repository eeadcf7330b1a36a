// A TCP connection that both sides have ended, with bytes that nobody has read.
// refused: ended
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in address = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 5));
    int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(client, (struct sockaddr *)&address, sizeof address));
    int server = must(accept4(listener, 0, 0, SOCK_CLOEXEC));
    must(write(server, "hello", 5));
    must(shutdown(client, SHUT_WR));
    close(server);
    struct tcp_info info = {0};
    if (!within(10, !getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}) && info.tcpi_state == TCP_CLOSE))
        give_up("a connection that ends", __LINE__);
    note("descriptor %d\n", client);
    ready();
    for (;;) {
        await_question();
        char bytes[8] = "";
        expect(recv(client, bytes, 8, MSG_PEEK | MSG_DONTWAIT) == 5 && !memcmp(bytes, "hello", 5), "the bytes are lost");
        verdict();
    }
}
