// A listening TCP socket that takes connections from a neighbour only if they are signed with its key.
// refused: tcp_md5sig
#include "workload.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_in here = {AF_INET, htons(4321), {htonl(INADDR_LOOPBACK)}, {0}};
    struct tcp_md5sig key = {.tcpm_keylen = 3, .tcpm_key = "key"};
    memcpy(&key.tcpm_addr, &here, sizeof here);
    must(setsockopt(listener, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof key));
    must(bind(listener, (struct sockaddr *)&here, sizeof here));
    must(listen(listener, 5));
    note("descriptor %d\n", listener);
    ready();
    for (;;) {
        await_question();
        int listens = 0;
        getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &(socklen_t){sizeof listens});
        expect(listens, "nobody listens any more");
        verdict();
    }
}
