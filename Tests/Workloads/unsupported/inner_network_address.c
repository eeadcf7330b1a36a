// A network namespace of a child's own in which lo has another address.
// capabilities: CAP_SYS_ADMIN CAP_NET_ADMIN
// seccomp: none
// refused: address
#include "workload.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static void leave(void) {
    must(unshare(CLONE_NEWNET));
    struct ifreq lo = {.ifr_name = "lo:1"};
    struct sockaddr_in *name = (void *)&lo.ifr_addr;
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}};
    int any = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(ioctl(any, SIOCSIFADDR, &lo));
    close(any);
}

int main(void) {
    begin();
    struct seat *child = hire(leave, 0);
    note("task %d\n", child->pid);
    serve_checks(0);
}
