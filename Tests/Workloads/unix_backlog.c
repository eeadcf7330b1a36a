// Connections that wait to be accepted at unix sockets, streams and seqpackets, by path and abstract name, beside one that was
// accepted: in their order, from another process too, whole and half shut down.
#include "workload.h"
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static const struct way { int type; const char *name; socklen_t size; } ways[] = {
    {SOCK_STREAM, "/state/stream", sizeof(struct sockaddr_un)}, {SOCK_STREAM, "\0streams", offsetof(struct sockaddr_un, sun_path) + 8},
    {SOCK_SEQPACKET, "/state/packets", sizeof(struct sockaddr_un)},
};
enum { WAYS = COUNT(ways) };
static int listeners[WAYS], accepted[WAYS][2], mine[WAYS], shut[WAYS], childs[WAYS], kept[WAYS];
static struct seat *child;
static bool again;   // the child has connected after the others

static int connect_to(int way) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, ways[way].name, ways[way].name[0] ? strlen(ways[way].name) : 8);
    int made = must(socket(AF_UNIX, ways[way].type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    must(connect(made, (void *)&address, ways[way].size));
    return made;
}

/// Of the child: its connections, anew.
static void connect_child(void) {
    for (int way = 0; way < WAYS; way++) {
        if (childs[way]) close(childs[way]);
        childs[way] = connect_to(way);
    }
}

static pid_t other_end(int socket) {
    struct ucred peer = {-1, -1, -1};
    getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer});
    return peer.pid;
}

/// What the parent leaves at each socket.
static void leave_connections(void) {
    for (int way = 0; way < WAYS; way++) {
        mine[way] = connect_to(way);
        shut[way] = connect_to(way);
        must(shutdown(shut[way], SHUT_WR));
    }
}

static int take(int way, const char *what) {
    struct pollfd wait = {listeners[way], POLLIN, 0};
    expect(poll(&wait, 1, 0) == 1, "%d: nobody waits: %s", way, what);
    return accept4(listeners[way], 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void expect_child(int way) {
    int end = take(way, "the child");
    expect(other_end(end) == child->pid, "%d: the first one is %d's", way, other_end(end));
    if (kept[way]) close(kept[way]);
    kept[way] = end;
}

static void expect_text(int from, int to, int way) {
    char got[8] = "";
    expect(write(from, "text", 4) == 4 && read(to, got, sizeof got) == 4 && !strcmp(got, "text"), "%d: a connection is another one's", way);
}

static void expect_connections(int way) {
    char byte;
    expect(other_end(mine[way]) == getpid(), "%d: process %d listens", way, other_end(mine[way]));
    struct pollfd writable = {mine[way], POLLIN | POLLOUT, 0};
    expect(poll(&writable, 1, 0) == 1 && writable.revents == POLLOUT, "%d: the client says %x", way, writable.revents);
    if (!again) expect_child(way);
    int end = take(way, "the parent's");
    expect(other_end(end) == getpid(), "%d: the parent's is %d's", way, other_end(end));
    expect_text(mine[way], end, way), expect_text(end, mine[way], way);
    close(end), close(mine[way]);
    end = take(way, "the half shut one");
    expect(read(end, &byte, 1) == 0, "%d: the half shut one has not ended", way);
    expect_text(end, shut[way], way);
    close(end), close(shut[way]);
    if (again) expect_child(way);
    struct pollfd wait = {listeners[way], POLLIN, 0};
    expect(poll(&wait, 1, 0) == 0, "%d: somebody else waits", way);
    expect_text(accepted[way][0], accepted[way][1], way), expect_text(accepted[way][1], accepted[way][0], way);
}

static void check(void) {
    for (int way = 0; way < WAYS; way++) expect_connections(way);
    again = true;
    leave_connections();
}

int main(void) {
    begin();
    for (int way = 0; way < WAYS; way++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, ways[way].name, ways[way].name[0] ? strlen(ways[way].name) : 8);
        listeners[way] = must(socket(AF_UNIX, ways[way].type | SOCK_CLOEXEC, 0));
        must(bind(listeners[way], (void *)&address, ways[way].size));
        must(listen(listeners[way], 8));
        accepted[way][0] = connect_to(way);
        accepted[way][1] = must(accept4(listeners[way], 0, 0, SOCK_CLOEXEC));
    }
    child = hire(connect_child, connect_child);
    leave_connections();
    serve_checks(check);
}
