// An epoll instance on its way through a unix socket, which nobody has open.
// refused: under way
#include "workload.h"
#include <sys/epoll.h>
#include <sys/socket.h>

static void give(int socket, int descriptor) {
    char control[CMSG_SPACE(sizeof descriptor)] = "";
    struct iovec byte = {"y", 1};
    struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof descriptor), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    must(sendmsg(socket, &message, 0));
    close(descriptor);
}

int main(void) {
    begin();
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    give(pair[0], must(epoll_create1(EPOLL_CLOEXEC)));
    note("descriptor %d\n", pair[1]);
    ready();
    for (;;) {
        await_question();
        char bytes[8] = "", control[100];
        struct iovec all = {bytes, 8};
        struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        expect(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1, "received '%s'", bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        expect(header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)), "the descriptor is lost");
        if (header) give(pair[0], *(int *)CMSG_DATA(header));
        verdict();
    }
}
