// Filters of TCP sockets (SO_ATTACH_FILTER), which ask for CAP_NET_ADMIN: of one that listens, and a locked one of a new one.
// capabilities: CAP_NET_ADMIN
#include "workload.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <sys/socket.h>

static const struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 80, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0xffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

static void expect_filter(int socket, bool locked, const char *what) {
    struct sock_filter got[8] = {0};
    socklen_t count = COUNT(got), size = sizeof(int);
    int is = -1;
    expect(!getsockopt(socket, SOL_SOCKET, SO_GET_FILTER, got, &count), "%s: %s", what, strerror(errno));
    expect(count == COUNT(filter) && !memcmp(got, filter, sizeof filter), "%s has another filter", what);
    expect(!getsockopt(socket, SOL_SOCKET, SO_LOCK_FILTER, &is, &size) && is == locked, "%s: locked: %d", what, is);
}

int main(void) {
    begin();
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sock_fprog program = {COUNT(filter), (struct sock_filter *)filter};
    int listener = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), new = must(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (void *)&name, sizeof name));
    must(listen(listener, 4));
    must(setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    must(setsockopt(new, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    must(setsockopt(new, SOL_SOCKET, SO_LOCK_FILTER, &(int){1}, sizeof(int)));
    ready();
    for (;;) {
        await_question();
        expect_filter(listener, false, "the listener");
        expect_filter(new, true, "the new one");
        verdict();
    }
}
