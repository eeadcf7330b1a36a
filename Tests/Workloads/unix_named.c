// Unix sockets with names: listening under a path and an abstract name, an accepted connection with bytes under way in
// both directions, a waiting datagram socket and one that is connected to it; the files' owners and modes, who connects
// anew, and whom each takes the other for.
// capabilities: CAP_SETUID
#include "workload.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un path = {AF_UNIX, "/state/socket"}, hidden = {AF_UNIX, "\0hidden\0name"}, mail = {AF_UNIX, "/state/mail"};
static const socklen_t hidden_size = offsetof(struct sockaddr_un, sun_path) + 12;
static int listeners[2], server, client, box, user_client, user_server, widow;
static pid_t parent;
static bool is_root;

/// Who is not root is always himself.
static uid_t user(uid_t wanted) { return is_root ? wanted : getuid(); }

static void be(uid_t user) {
    if (is_root) must(seteuid(user));
    must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int listen_at(struct sockaddr_un *address, socklen_t size, int type) {
    int listener = must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)address, size));
    must(listen(listener, 5));
    return listener;
}

static void expect_peer(int socket, const char *name, pid_t pid, uid_t uid) {
    struct ucred peer = {0};
    must(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer}));
    expect(peer.pid == pid && peer.uid == user(uid) && peer.gid == getegid(), "the peer of the %s is %d, %d:%d", name, peer.pid, peer.uid, peer.gid);
}

static void connect_anew(int listener, uid_t uid, struct sockaddr_un *address, socklen_t size, int type) {
    int caller = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    expect(!connect(caller, (struct sockaddr *)address, size), "nobody listens: %s", strerror(errno));
    expect_peer(caller, "caller", parent, uid);
    int peer = accept4(listener, 0, 0, SOCK_CLOEXEC);
    expect(peer > 0, "accept: %s", strerror(errno));
    close(peer);
    close(caller);
}

static void expect_name(int socket, const struct sockaddr_un *name, socklen_t size) {
    struct sockaddr_un is;
    socklen_t length = sizeof is;
    expect(!getsockname(socket, (struct sockaddr *)&is, &length) && length == size && !memcmp(&is, name, size), "a name has changed");
}

static int writer, child_client;

/// Connects as another process, and to a datagram socket, which keeps that in mind.
static void become_writer(void) {
    writer = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(connect(writer, (struct sockaddr *)&mail, sizeof mail));
    child_client = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(child_client, (struct sockaddr *)&path, sizeof path));
}

static void expect_letter(void) {
    char letter[8] = "";
    expect(recv(box, letter, 8, MSG_DONTWAIT) == 6 && !memcmp(letter, "letter", 6), "the letter is lost");
}

static void check_child(void) {
    int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    expect(sendto(sender, "letter", 6, 0, (struct sockaddr *)&mail, sizeof mail) == 6, "cannot send: %s", strerror(errno));
    close(sender);
    expect_letter();
    expect(send(writer, "letter", 6, 0) == 6, "the connected one cannot send: %s", strerror(errno));
    expect_letter();
    expect_peer(child_client, "child's client", parent, 0);
}

int main(void) {
    begin();
    parent = getpid();
    is_root = !geteuid();
    listeners[0] = listen_at(&path, sizeof path, SOCK_STREAM);
    listeners[1] = listen_at(&hidden, hidden_size, SOCK_SEQPACKET);
    must(chmod("/state/socket", 0613));
    client = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(client, (struct sockaddr *)&path, sizeof path));
    server = must(accept4(listeners[0], 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK));
    must(write(server, "to the client", 13));
    must(write(client, "to the server", 13));
    widow = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(widow, (struct sockaddr *)&path, sizeof path));
    close(must(accept4(listeners[0], 0, 0, SOCK_CLOEXEC)));
    box = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(bind(box, (struct sockaddr *)&mail, sizeof mail));
    struct seat *child = hire(become_writer, check_child);
    int child_server = must(accept4(listeners[0], 0, 0, SOCK_CLOEXEC));
    be(1000);
    user_client = must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    must(connect(user_client, (struct sockaddr *)&hidden, hidden_size));
    must(listen(listeners[1], 5));   // as another user than before
    be(0);
    user_server = must(accept4(listeners[1], 0, 0, SOCK_CLOEXEC));
    socklen_t path_size = sizeof path;
    struct sockaddr_un known;
    must(getsockname(listeners[0], (struct sockaddr *)&known, &path_size));
    ready();
    for (;;) {
        await_question();
        char bytes[20];
        struct stat is;
        expect(!stat("/state/socket", &is) && is.st_mode == (S_IFSOCK | 0613), "the socket's file has mode %o", is.st_mode);
        expect_peer(client, "client", parent, 0);
        expect_peer(server, "server", parent, 0);
        struct sockaddr_un former = {0};
        socklen_t length = sizeof former;
        expect(!getpeername(widow, (struct sockaddr *)&former, &length) && !strcmp(former.sun_path, path.sun_path),
               "the peer that was closed was '%s'", former.sun_path);
        expect(recv(widow, bytes, 20, MSG_DONTWAIT) == 0, "a connection to a closed peer does not end");
        expect_peer(widow, "widow", parent, 0);
        expect_peer(child_server, "child's server", child->pid, 0);
        expect_peer(user_client, "user's client", parent, 0);
        expect_peer(user_server, "user's server", parent, 1000);
        connect_anew(listeners[0], 0, &path, sizeof path, SOCK_STREAM);
        connect_anew(listeners[1], 1000, &hidden, hidden_size, SOCK_SEQPACKET);
        expect_name(listeners[0], &path, path_size);
        expect_name(listeners[1], &hidden, hidden_size);
        expect_name(server, &path, path_size);
        expect(recv(client, bytes, 20, MSG_DONTWAIT) == 13 && !memcmp(bytes, "to the client", 13), "bytes to the client are lost");
        expect(recv(server, bytes, 20, MSG_DONTWAIT) == 13 && !memcmp(bytes, "to the server", 13), "bytes to the server are lost");
        expect(write(server, "to the client", 13) == 13 && write(client, "to the server", 13) == 13, "the connection is lost");
        verdict();
    }
}
