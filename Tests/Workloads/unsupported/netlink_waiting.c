// A dump of rtnetlink's that has begun: its first messages wait.
// refused: messages
#include "workload.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int port = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    struct { struct nlmsghdr header; struct ifinfomsg link; } request = {
        {sizeof request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 77, 0}, {0}};
    must(send(port, &request, sizeof request, 0));
    note("descriptor %d\n", port);
    ready();
    for (;;) {
        await_question();
        struct nlmsghdr header = {0};
        expect(recv(port, &header, sizeof header, MSG_PEEK | MSG_DONTWAIT) == sizeof header && header.nlmsg_seq == 77, "the dump is gone");
        verdict();
    }
}
