// Filters of sockets (SO_ATTACH_FILTER), one of them locked: they choose what comes, and have no say about what had come before.
// capabilities: CAP_NET_RAW
#include "workload.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

/// Of what comes to a socket, what begins with this byte stays out; a raw socket's begins with 0x45, UDP's header with a port.
static const struct sock_filter no_x[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'x', 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, 0xffff),
};
static const struct sock_filter no_x_behind_udp[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'x', 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
    BPF_STMT(BPF_RET | BPF_K, 0xffff),
};
static const struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
static const struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, 0xffff)};

enum { LETTERS, STREAM, UDP, UEVENTS, RAW, PACKET, PLAIN, LOCKED_EMPTY, ALL };
static const struct kind { const struct sock_filter *filter; int count; bool locked; } kinds[ALL] = {
    [LETTERS] = {no_x, COUNT(no_x), false}, [STREAM] = {all, COUNT(all), true}, [UDP] = {no_x_behind_udp, COUNT(no_x_behind_udp), true},
    [UEVENTS] = {nothing, COUNT(nothing), false}, [RAW] = {nothing, COUNT(nothing), false},
    [PACKET] = {nothing, COUNT(nothing), true}, [LOCKED_EMPTY] = {0, 0, true},
};
static int sockets[ALL], others[ALL];
static struct sockaddr_in udp_name, name = {.sin_family = AF_INET};

static bool lock(int socket) {
    int is = -1;
    getsockopt(socket, SOL_SOCKET, SO_LOCK_FILTER, &is, &(socklen_t){sizeof is});
    return is == 1;
}

static void expect_next(int socket, const char *text, const char *what) {
    char got[20] = "";
    ssize_t size = recv(socket, got, sizeof got - 1, MSG_DONTWAIT);
    expect(size == (ssize_t)strlen(text) && !strcmp(got, text), "%s: '%s' came instead of '%s'", what, got, text);
}

/// Sends what is kept out and what is not, and expects one of them.
static void exchange(int i, const char *what) {
    const struct sockaddr *to = i == UDP ? (void *)&udp_name : 0;
    socklen_t size = to ? sizeof udp_name : 0;
    expect(sendto(others[i], "xeno", 4, 0, to, size) == 4 || errno == EPERM, "%s: cannot send: %s", what, strerror(errno));
    expect(sendto(others[i], "kind", 4, 0, to, size) == 4, "%s: cannot send: %s", what, strerror(errno));
    struct pollfd wait = {sockets[i], POLLIN, 0};
    poll(&wait, 1, 2000);
}

static void set_up(void) {
    int pair[2], stream[2];
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream));
    sockets[LETTERS] = pair[0], others[LETTERS] = pair[1], sockets[STREAM] = stream[0], others[STREAM] = stream[1];
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockets[UDP] = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), others[UDP] = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(bind(sockets[UDP], (void *)&name, sizeof name));
    must(getsockname(sockets[UDP], (void *)&udp_name, &(socklen_t){sizeof udp_name}));
    sockets[UEVENTS] = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
    struct sockaddr_nl group = {AF_NETLINK, 0, 0, 2};
    must(bind(sockets[UEVENTS], (void *)&group, sizeof group));
    sockets[RAW] = must(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP));
    sockets[PACKET] = must(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
    sockets[PLAIN] = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), sockets[LOCKED_EMPTY] = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (int i = 0; i < 3; i++) must((int)send(others[LETTERS], "xylophone", 9, 0));   // before there is a filter
    for (int i = 0; i < ALL; i++) {
        struct sock_fprog program = {kinds[i].count, (struct sock_filter *)kinds[i].filter};
        if (kinds[i].count) must(setsockopt(sockets[i], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
        if (kinds[i].locked) must(setsockopt(sockets[i], SOL_SOCKET, SO_LOCK_FILTER, &(int){1}, sizeof(int)));
    }
    while (recv(sockets[PACKET], &pair, sizeof pair, MSG_DONTWAIT) >= 0) {}
}

static void check(void) {
    for (int i = 0; i < ALL; i++) {
        struct sock_filter got[8] = {0};
        socklen_t count = COUNT(got);
        expect(!getsockopt(sockets[i], SOL_SOCKET, SO_GET_FILTER, got, &count), "socket %d: %s", i, strerror(errno));
        expect((int)count == kinds[i].count && !memcmp(got, kinds[i].filter ? kinds[i].filter : got, count * sizeof *got), "socket %d has another filter", i);
        expect(lock(sockets[i]) == kinds[i].locked, "socket %d: locked: %d", i, !kinds[i].locked);
        if (kinds[i].locked)
            expect(setsockopt(sockets[i], SOL_SOCKET, SO_DETACH_FILTER, &i, sizeof i) < 0 && errno == EPERM, "the lock of socket %d gives way", i);
    }
    exchange(LETTERS, "letters");
    for (int i = 0; i < 3; i++) expect_next(sockets[LETTERS], "xylophone", "an old letter");
    expect_next(sockets[LETTERS], "kind", "a new letter");
    for (int i = 0; i < 3; i++) {   // the next ones, for the next question
        must(setsockopt(sockets[LETTERS], SOL_SOCKET, SO_DETACH_FILTER, &i, sizeof i));
        expect(send(others[LETTERS], "xylophone", 9, 0) == 9, "cannot send a letter");
        struct sock_fprog program = {COUNT(no_x), (struct sock_filter *)no_x};
        must(setsockopt(sockets[LETTERS], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    }
    exchange(UDP, "UDP");
    expect_next(sockets[UDP], "kind", "UDP");
    expect(write(others[STREAM], "stream", 6) == 6, "cannot write to the stream");
    expect_next(sockets[STREAM], "stream", "the stream");
    char byte;
    for (int i = UEVENTS; i <= PACKET; i++) expect(recv(sockets[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "socket %d got something", i);
}

int main(void) {
    begin();
    set_up();
    check();
    if (my_faults[0]) give_up(my_faults, __LINE__);
    serve_checks(check);
}
