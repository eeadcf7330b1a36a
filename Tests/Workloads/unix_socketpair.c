// Pairs of unix sockets: messages in their queues, halves that are shut, options, an end in another process, and whom each
// end takes the other for.
// capabilities: CAP_SETUID CAP_SETGID
#include "workload.h"
#include <grp.h>
#include <sys/socket.h>

static int stream[2], datagram[2], packet[2], half[2], far[2], lonely, idle, others[2], orphans[2], signed_ones[2];
static pid_t parent;
static bool is_root;

/// Who is not root is always himself.
static uid_t user(uid_t wanted) { return is_root ? wanted : geteuid(); }
static gid_t group(gid_t wanted) { return is_root ? wanted : getegid(); }

static void be(uid_t user, gid_t group) {
    if (!is_root) return;
    if (group) must(setresgid(group, group, 0));
    must(setresuid(user, user, 0));
    if (!group) must(setresgid(group, group, 0));
    must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
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

static void expect_maker(int socket, const char *name, pid_t pid, uid_t uid, gid_t gid) {
    struct ucred peer = {0};
    getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer});
    expect(peer.pid == pid && peer.uid == user(uid) && peer.gid == group(gid), "%s: the peer is %d, %d:%d", name, peer.pid, peer.uid, peer.gid);
}

static void check_far(void) { expect_maker(far[1], "far end", parent, 0, 0); }

/// A pair that is made by somebody else's ids.
static void make_as(uid_t user, gid_t group, gid_t other, int pair[2]) {
    gid_t own[64];
    int count = must(getgroups(64, own));
    if (is_root) must(setgroups(1, &other));
    be(user, group);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    be(0, 0);
    if (is_root) must(setgroups(count, own));
}

/// By a process that has ended: its descriptors come through another pair.
static void make_orphans(void) {
    int way[2];
    char control[CMSG_SPACE(sizeof orphans)] = "";
    struct iovec byte = {"x", 1};
    struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, way));
    pid_t child = must(fork());
    if (!child) {
        make_as(77, 78, 79, orphans);
        *header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof orphans), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(header), orphans, sizeof orphans);
        _exit(sendmsg(way[1], &message, 0) != 1);
    }
    int status;
    must(waitpid(child, &status, 0));
    char received;
    byte.iov_base = &received;
    must(recvmsg(way[0], &message, MSG_CMSG_CLOEXEC));
    memcpy(orphans, CMSG_DATA(header), sizeof orphans);
    close(way[0]);
    close(way[1]);
    expect_maker(orphans[0], "pair of a process that has ended", child, 77, 78);
}

static void sign(void) {
    must(send(signed_ones[0], "as root", 7, 0));
    be(44, 55);
    must(send(signed_ones[0], "as 44", 5, 0));
    be(0, 0);
}

static void expect_signed(const char *content, uid_t uid, gid_t gid) {
    char bytes[20] = "", control[100];
    struct iovec all = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(signed_ones[1], &message, MSG_DONTWAIT);
    expect(count == (ssize_t)strlen(content) && !strcmp(bytes, content), "received '%s', not '%s'", bytes, content);
    struct cmsghdr *header = count < 0 ? 0 : CMSG_FIRSTHDR(&message);
    bool is_signed = header && header->cmsg_type == SCM_CREDENTIALS;
    expect(is_signed, "'%s' comes without a sender", content);
    if (!is_signed) return;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    expect(sender.pid == getpid() && sender.uid == user(uid) && sender.gid == group(gid), "'%s' is from %d, %d:%d", content, sender.pid, sender.uid, sender.gid);
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
    parent = getpid();
    is_root = !geteuid();
    idle = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    make_as(1234, 567, 89, others);
    make_orphans();
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, signed_ones));
    must(setsockopt(signed_ones[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
    sign();
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
    must(setsockopt(packet[0], SOL_SOCKET, SO_PASSSEC, &on, sizeof on));
    must(setsockopt(packet[0], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on));
    int buffer = option(stream[0], SO_SNDBUF);
    fill();
    echoed = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(become_echo, check_far);
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
        expect(option(packet[0], SO_PASSSEC) == 1 && option(packet[0], SO_TIMESTAMPNS) == 1, "SO_PASSSEC or SO_TIMESTAMPNS changed");
        expect_maker(stream[0], "stream", getpid(), 0, 0);
        expect_maker(datagram[1], "datagram", getpid(), 0, 0);
        expect_maker(lonely, "end without a peer", getpid(), 0, 0);
        for (int i = 0; i < 2; i++) expect_maker(others[i], "pair of other ids", getpid(), 1234, 567);
        gid_t groups[8];
        socklen_t size_of_groups = sizeof groups;
        expect(!getsockopt(others[0], SOL_SOCKET, SO_PEERGROUPS, groups, &size_of_groups), "SO_PEERGROUPS: %s", strerror(errno));
        expect(!is_root || (size_of_groups == 4 && groups[0] == 89),
               "the peer has %d groups", size_of_groups / 4);
        struct ucred maker = {0};
        getsockopt(orphans[0], SOL_SOCKET, SO_PEERCRED, &maker, &(socklen_t){sizeof maker});
        expect(maker.uid == user(77) && maker.gid == group(78), "the pair of a process that has ended is %d:%d's", maker.uid, maker.gid);
        expect(send(idle, "x", 1, MSG_NOSIGNAL) == -1 && errno == ENOTCONN, "a socket that was never connected says: %s", strerror(errno));
        expect_signed("as root", 0, 0);
        expect_signed("as 44", 44, 55);
        sign();
        struct timeval is = {0};
        getsockopt(stream[1], SOL_SOCKET, SO_RCVTIMEO, &is, &(socklen_t){sizeof is});
        expect(is.tv_sec == 7 && is.tv_usec == 500000, "SO_RCVTIMEO is %ld s", is.tv_sec);
        fill();
        verdict();
    }
}
