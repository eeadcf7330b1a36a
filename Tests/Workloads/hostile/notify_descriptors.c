// Tells the service manager nothing two thousand times, with a descriptor each time, and then that it is ready.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int tell(int manager, const char *text, int descriptor) {
    union { struct cmsghdr header; char space[CMSG_SPACE(sizeof descriptor)]; } control = {0};
    struct iovec words = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &words, .msg_iovlen = 1};
    if (descriptor >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){CMSG_LEN(sizeof descriptor), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    }
    return sendmsg(manager, &message, 0) < 0;
}

int main(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, getenv("NOTIFY_SOCKET"), sizeof address.sun_path - 1);
    int manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (connect(manager, (struct sockaddr *)&address, sizeof address)) return 1;
    for (int count = 0; count < 2000; count++)
        if (tell(manager, "STATUS=", 0)) return 2;
    if (tell(manager, "READY=1", -1)) return 3;
    for (;;) pause();
}
