// A descriptor on its way through a unix stream, between bytes.
// refused: descriptors
#include "workload.h"
#include <sys/socket.h>

static ssize_t send_with(int socket, int descriptor) {
    char control[CMSG_SPACE(sizeof descriptor)] = "";
    struct iovec byte = {"y", 1};
    struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof descriptor), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(socket, &message, 0);
}

static void fill(int socket, int descriptor) {
    must(send(socket, "x", 1, 0));
    must(send_with(socket, descriptor));
    must(send(socket, "z", 1, 0));
}

int main(void) {
    begin();
    int pair[2], file = must(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    fill(pair[0], file);
    note("descriptor %d\n", pair[1]);
    ready();
    for (;;) {
        await_question();
        char bytes[8] = "", control[100];
        struct iovec all = {bytes, 8};
        struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        expect(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 2 && !memcmp(bytes, "xy", 2), "received '%s'", bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        expect(header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)), "the descriptor is lost");
        if (header) close(*(int *)CMSG_DATA(header));
        expect(recv(pair[1], bytes, 8, 0) == 1 && bytes[0] == 'z', "the last byte is lost");
        fill(pair[0], file);
        verdict();
    }
}
