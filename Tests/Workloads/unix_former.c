// Unix sockets whose names lead nowhere, or to others by now: unlinked, taken, of connections whose listener is closed; datagram
// sockets with names that are connected to each other; descriptors of sockets' files (O_PATH).
#include "workload.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { GONE, TAKEN, NEW, LIVE, LISTENERS };
enum { OF_GONE, OF_TAKEN, OF_NEW, OF_CLOSED, OF_ABSTRACT, WAITING, PAIRS };
enum { A, B, C, D, E, BOXES };
static const char *const box_names[BOXES] = {"/state/a", "/state/b", "\0c", "/state/d", "\0e"};
static const int box_peers[BOXES] = {B, A, A, E, -1};
static int listeners[LISTENERS], pairs[PAIRS][2], boxes[BOXES], live, stale;
static struct sockaddr_un names[LISTENERS + 2 * PAIRS + BOXES], peers[LISTENERS + 2 * PAIRS + BOXES];

static socklen_t name(struct sockaddr_un *address, const char *text) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (text[0]) return strcpy(address->sun_path, text), sizeof *address;
    memcpy(address->sun_path, text, 1 + strlen(text + 1));
    return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text + 1);
}

static int bound(int type, const char *text) {
    struct sockaddr_un address;
    int made = must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    must(bind(made, (void *)&address, name(&address, text)));
    if (type == SOCK_STREAM) must(listen(made, 4));
    return made;
}

static int joined(int type, const char *text) {
    struct sockaddr_un address;
    socklen_t size = name(&address, text);
    int made = must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    return connect(made, (void *)&address, size) ? close(made), -1 : made;
}

static void join(int pair, int listener, const char *text) {
    pairs[pair][0] = must(joined(SOCK_STREAM, text));
    pairs[pair][1] = must(accept4(listener, 0, 0, SOCK_CLOEXEC));
}

static int all(int i) {
    if (i < LISTENERS) return listeners[i];
    if (i < LISTENERS + 2 * PAIRS) return pairs[(i - LISTENERS) / 2][(i - LISTENERS) % 2];
    return boxes[i - LISTENERS - 2 * PAIRS];
}

static void look(int i, struct sockaddr_un *own, struct sockaddr_un *peer) {
    memset(own, 0, sizeof *own), memset(peer, 0, sizeof *peer);
    getsockname(all(i), (void *)own, &(socklen_t){sizeof *own});
    getpeername(all(i), (void *)peer, &(socklen_t){sizeof *peer});
}

static void expect_text(int from, int to, const char *what) {
    char got[8] = "";
    expect(write(from, "text", 4) == 4 && read(to, got, sizeof got) == 4 && !strcmp(got, "text"), "%s: %s", what, strerror(errno));
}

static pid_t other_end(int socket) {
    struct ucred peer = {-1, -1, -1};
    getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof peer});
    return peer.pid;
}

/// Who is not its peer can send to A only before it has one: so two letters wait.
static void set_up(void) {
    listeners[GONE] = bound(SOCK_STREAM, "/state/gone");
    join(OF_GONE, listeners[GONE], "/state/gone");
    pairs[WAITING][0] = must(joined(SOCK_STREAM, "/state/gone"));
    listeners[TAKEN] = bound(SOCK_STREAM, "/state/taken");
    join(OF_TAKEN, listeners[TAKEN], "/state/taken");
    must(unlink("/state/gone")), must(unlink("/state/taken"));
    listeners[NEW] = bound(SOCK_STREAM, "/state/taken");
    join(OF_NEW, listeners[NEW], "/state/taken");
    int former = bound(SOCK_STREAM, "/state/closed"), abstract = bound(SOCK_STREAM, "\0abstract");
    join(OF_CLOSED, former, "/state/closed"), join(OF_ABSTRACT, abstract, "\0abstract");
    close(former), close(abstract);
    must(unlink("/state/closed"));
    for (int i = 0; i < BOXES; i++) boxes[i] = bound(SOCK_DGRAM, box_names[i]);
    struct sockaddr_un address;
    must(connect(boxes[C], (void *)&address, name(&address, box_names[A])));
    must((int)send(boxes[C], "of C", 4, 0));
    for (int i = 0; i < BOXES; i++)
        if (i != C && box_peers[i] >= 0) must(connect(boxes[i], (void *)&address, name(&address, box_names[box_peers[i]])));
    must((int)send(boxes[B], "of B", 4, 0));
    must(unlink("/state/d"));
    listeners[LIVE] = bound(SOCK_STREAM, "/state/live");
    live = must(open("/state/live", O_PATH | O_CLOEXEC));
    close(bound(SOCK_STREAM, "/state/stale"));
    stale = must(open("/state/stale", O_PATH | O_NOFOLLOW | O_CLOEXEC));
    for (int i = 0; i < LISTENERS + 2 * PAIRS + BOXES; i++) if (all(i)) look(i, &names[i], &peers[i]);
}

static void expect_letter(const char *text, const char *sender) {
    char got[8] = "";
    struct sockaddr_un from = {0}, expected;
    name(&expected, sender);
    ssize_t size = recvfrom(boxes[A], got, sizeof got - 1, MSG_DONTWAIT, (void *)&from, &(socklen_t){sizeof from});
    expect(size == 4 && !strcmp(got, text), "'%s' came instead of '%s'", got, text);
    expect(!memcmp(&from, &expected, sizeof from), "'%s' is from %s", text, from.sun_path);
}

static void check_boxes(void) {
    if (questions == 2) expect_letter("of C", "\0c"), expect_letter("of B", "/state/b");
    if (questions < 2) return;   // they wait
    expect_text(boxes[A], boxes[B], "A to B"), expect_text(boxes[D], boxes[E], "D to E");
    expect(send(boxes[B], "text", 4, 0) == 4, "B to A: %s", strerror(errno));
    expect_letter("text", "/state/b");
    expect(send(boxes[C], "text", 4, 0) < 0 && errno == EPERM, "C may write to A");
}

static void check_places(void) {
    struct stat place, file;
    char path[40];
    struct sockaddr_un address;
    expect(!fstat(live, &place) && !stat("/state/live", &file) && place.st_ino == file.st_ino, "the place is another file's");
    expect(!fstat(stale, &place) && !stat("/state/stale", &file) && place.st_ino == file.st_ino && S_ISSOCK(place.st_mode), "the stale place is another file's");
    expect(fcntl(live, F_GETFL) & O_PATH && fcntl(stale, F_GETFL) & O_NOFOLLOW, "the places have other flags");
    snprintf(path, sizeof path, "/proc/self/fd/%d", live);
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    expect(!connect(client, (void *)&address, name(&address, path)), "cannot connect to the place: %s", strerror(errno));
    close(accept(listeners[LIVE], 0, 0)), close(client);
}

static void check(void) {
    for (int i = 0; i < LISTENERS + 2 * PAIRS + BOXES; i++) {
        struct sockaddr_un own, peer;
        if (!names[i].sun_family) continue;
        look(i, &own, &peer);
        expect(!memcmp(&own, &names[i], sizeof own), "socket %d was called %s, is %s", i, names[i].sun_path, own.sun_path);
        expect(!memcmp(&peer, &peers[i], sizeof peer), "socket %d has another peer", i);
    }
    expect(joined(SOCK_STREAM, "/state/gone") < 0 && errno == ENOENT, "the unlinked name is there");
    expect(joined(SOCK_STREAM, "\0abstract") < 0 && errno == ECONNREFUSED, "the abstract name is there");
    expect(joined(SOCK_STREAM, "/state/closed") < 0 && errno == ENOENT, "the closed listener is there");
    if (questions == 2) {
        pairs[WAITING][1] = accept4(listeners[GONE], 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
        look(LISTENERS + 2 * WAITING + 1, &names[LISTENERS + 2 * WAITING + 1], &peers[LISTENERS + 2 * WAITING + 1]);
    }
    for (int i = 0; i < PAIRS && pairs[i][1]; i++) {
        expect_text(pairs[i][0], pairs[i][1], "to a server"), expect_text(pairs[i][1], pairs[i][0], "to a client");
        expect(other_end(pairs[i][0]) == getpid() && other_end(pairs[i][1]) == getpid(), "pair %d is another one's", i);
    }
    int client = joined(SOCK_STREAM, "/state/taken"), server = accept4(listeners[NEW], 0, 0, SOCK_NONBLOCK);
    if (client >= 0 && server >= 0) expect_text(client, server, "to the new listener");
    else expect(false, "the name leads to another one");
    close(client), close(server);
    check_boxes();
    check_places();
}

int main(void) {
    begin();
    set_up();
    serve_checks(check);
}
