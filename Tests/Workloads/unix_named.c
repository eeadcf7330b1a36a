// Unix sockets with names: listening under a path and an abstract name, an accepted connection with bytes under way in
// both directions, a waiting datagram socket; the files' owners and modes, and who connects anew.
#include "workload.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un path = {AF_UNIX, "/state/socket"}, hidden = {AF_UNIX, "\0hidden\0name"}, mail = {AF_UNIX, "/state/mail"};
static const socklen_t hidden_size = offsetof(struct sockaddr_un, sun_path) + 12;
static int listeners[2], server, client, box;

static int listen_at(struct sockaddr_un *address, socklen_t size, int type) {
    int listener = must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)address, size));
    must(listen(listener, 5));
    return listener;
}

static void expect_own_peer(int socket, const char *name) {
    struct ucred peer = {0};
    must(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer}));
    expect(peer.uid == geteuid() && peer.gid == getegid(), "the peer of the %s is %d:%d", name, peer.uid, peer.gid);
}

static void connect_anew(int listener, struct sockaddr_un *address, socklen_t size, int type) {
    int caller = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    expect(!connect(caller, (struct sockaddr *)address, size), "nobody listens: %s", strerror(errno));
    expect_own_peer(caller, "caller");
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

static void check_child(void) {
    char letter[8] = "";
    int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    expect(sendto(sender, "letter", 6, 0, (struct sockaddr *)&mail, sizeof mail) == 6, "cannot send: %s", strerror(errno));
    close(sender);
    expect(recv(box, letter, 8, MSG_DONTWAIT) == 6 && !memcmp(letter, "letter", 6), "the letter is lost");
}

int main(void) {
    begin();
    listeners[0] = listen_at(&path, sizeof path, SOCK_STREAM);
    listeners[1] = listen_at(&hidden, hidden_size, SOCK_SEQPACKET);
    must(chmod("/state/socket", 0613));
    client = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(client, (struct sockaddr *)&path, sizeof path));
    server = must(accept4(listeners[0], 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK));
    must(write(server, "to the client", 13));
    must(write(client, "to the server", 13));
    box = must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(bind(box, (struct sockaddr *)&mail, sizeof mail));
    hire(0, check_child);
    socklen_t path_size = sizeof path;
    struct sockaddr_un known;
    must(getsockname(listeners[0], (struct sockaddr *)&known, &path_size));
    ready();
    for (;;) {
        await_question();
        char bytes[20];
        struct stat is;
        expect(!stat("/state/socket", &is) && is.st_mode == (S_IFSOCK | 0613), "the socket's file has mode %o", is.st_mode);
        expect_own_peer(client, "client");
        expect_own_peer(server, "server");
        connect_anew(listeners[0], &path, sizeof path, SOCK_STREAM);
        connect_anew(listeners[1], &hidden, hidden_size, SOCK_SEQPACKET);
        expect_name(listeners[0], &path, path_size);
        expect_name(listeners[1], &hidden, hidden_size);
        expect_name(server, &path, path_size);
        expect(recv(client, bytes, 20, MSG_DONTWAIT) == 13 && !memcmp(bytes, "to the client", 13), "bytes to the client are lost");
        expect(recv(server, bytes, 20, MSG_DONTWAIT) == 13 && !memcmp(bytes, "to the server", 13), "bytes to the server are lost");
        expect(write(server, "to the client", 13) == 13 && write(client, "to the server", 13) == 13, "the connection is lost");
        verdict();
    }
}
