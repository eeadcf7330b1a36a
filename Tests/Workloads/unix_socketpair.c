// Pairs of unix sockets: messages in their queues, halves that are shut, options, and an end in another process.
#include "workload.h"
#include <sys/socket.h>

static int stream[2], datagram[2], packet[2], half[2], far[2], lonely;
static atomic_int *echoed;

static void *echo(void *unused) {
    char bytes[100];
    for (;;) {
        ssize_t n = recv(far[1], bytes, sizeof bytes, 0);
        expect(n == 5 && send(far[1], bytes, n, 0) == n, "the other process received %zd: %s", n, strerror(errno));
        atomic_fetch_add(echoed, 1);
    }
    return unused;
}

static void become_echo(void) {
    close(far[0]);
    start_thread(echo, 0);
}

static void expect_message(int socket, const char *name, const char *content) {
    char bytes[100] = "";
    ssize_t n = recv(socket, bytes, sizeof bytes - 1, MSG_DONTWAIT);
    expect(n == (ssize_t)strlen(content) && !strcmp(bytes, content), "%s: received %zd bytes '%s'", name, n, bytes);
}

static void fill(void) {
    must(send(stream[0], "one stream", 10, 0));
    must(send(stream[1], "and the other way", 17, 0));
    must(send(datagram[0], "first", 5, 0));
    must(send(datagram[0], "", 0, 0));
    must(send(datagram[0], "third", 5, 0));
    must(send(packet[1], "packet one", 10, 0));
    must(send(packet[1], "packet two", 10, 0));
}

static int option(int socket, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    expect(!getsockopt(socket, SOL_SOCKET, name, &value, &size), "getsockopt");
    return value;
}

int main(void) {
    begin();
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, datagram));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packet));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, far));
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    must(send(pair[1], "farewell", 8, 0));
    close(pair[1]);
    lonely = pair[0];
    must(send(half[0], "before the end", 14, 0));
    must(shutdown(half[0], SHUT_WR));
    int size = 50000, on = 1;
    struct timeval limit = {7, 500000};
    must(setsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    must(setsockopt(stream[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    must(setsockopt(stream[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    int buffer = option(stream[0], SO_SNDBUF);
    fill();
    echoed = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(become_echo, 0);
    close(far[1]);
    ready();
    for (;;) {
        await_question();
        expect_message(stream[1], "stream", "one stream");
        expect_message(stream[0], "stream back", "and the other way");
        expect_message(datagram[1], "datagram", "first");
        expect_message(datagram[1], "empty datagram", "");
        expect_message(datagram[1], "third datagram", "third");
        expect_message(packet[0], "packet", "packet one");
        expect_message(packet[0], "packet", "packet two");
        if (questions == 1) expect_message(half[1], "half", "before the end");
        if (questions == 2) expect_message(lonely, "end without a peer", "farewell");
        expect(recv(half[1], &on, 1, MSG_DONTWAIT) == 0, "a shut stream does not end");
        expect(send(half[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "a shut stream can be written");
        expect(send(half[1], "y", 1, 0) == 1, "the open half cannot be written");
        expect_message(half[0], "open half", "y");
        expect(send(lonely, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "a stream without a peer can be written");
        expect(send(far[0], "hello", 5, 0) == 5, "cannot send to the other process");
        expect(within(5, recv(far[0], &(char[8]){0}, 8, MSG_DONTWAIT) == 5), "the other process does not answer");
        expect(option(stream[0], SO_SNDBUF) == buffer, "SO_SNDBUF is %d", option(stream[0], SO_SNDBUF));
        expect(option(stream[0], SO_PASSCRED) == 1 && option(stream[1], SO_PASSCRED) == 0, "SO_PASSCRED changed");
        struct ucred peer = {0};
        getsockopt(stream[0], SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer});
        expect(peer.uid == geteuid() && peer.gid == getegid(), "the peer is %d:%d", peer.uid, peer.gid);
        struct timeval is = {0};
        getsockopt(stream[1], SOL_SOCKET, SO_RCVTIMEO, &is, &(socklen_t){sizeof is});
        expect(is.tv_sec == 7 && is.tv_usec == 500000, "SO_RCVTIMEO is %ld s", is.tv_sec);
        fill();
        verdict();
    }
}
