// Processes that have gone into other root directories, one beneath the other's, with files, a working directory and a
// socket there, and one that has the working directory it had before.
// capabilities: CAP_SYS_CHROOT
// seccomp: none
#include "workload.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name = {AF_UNIX, "/sock"};
static int file, listener, client, server;
static int round_;

static void enter_inner(void) {
    must(mkdir("/state/root", 0755)), must(mkdir("/state/root/deep", 0755));
    must(chroot("/state/root"));
    must(chdir("/deep"));
    file = must(open("/file", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    must(write(file, "inner", 5));
    listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 5));
    client = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(connect(client, (struct sockaddr *)&name, sizeof name));
    server = must(accept4(listener, 0, 0, SOCK_CLOEXEC));
}

static void expect_root(const char *what) {
    struct stat root, above;
    expect(!access("/file", F_OK) && access("/state", F_OK) < 0, "%s: another root directory", what);
    expect(!stat("/", &root) && !stat("/..", &above) && root.st_ino == above.st_ino, "%s: there is something above", what);
}

static void check_inner(void) {
    char path[64] = "", bytes[8] = "";
    expect_root("inner");
    expect(getcwd(path, sizeof path) && !strcmp(path, "/deep"), "the working directory is %s", path);
    expect(pread(file, bytes, 5, 0) == 5 && !strcmp(bytes, "inner"), "the file has `%s`", bytes);
    expect(write(client, "x", 1) == 1 && read(server, bytes, 8) == 1, "the connection is cut");
    int another = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted = -1;
    expect(!connect(another, (struct sockaddr *)&name, sizeof name) && (accepted = accept4(listener, 0, 0, SOCK_CLOEXEC)) >= 0,
           "nobody listens: %s", strerror(errno));
    close(another), close(accepted);
    snprintf(path, sizeof path, "/made-%d", round_++);
    int made = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    expect(made >= 0, "cannot make %s: %s", path, strerror(errno));
    close(made);
}

static void enter_outside(void) {
    must(mkdir("/state/jail", 0755));
    must(close(must(open("/state/jail/file", O_CREAT | O_WRONLY, 0644))));
    must(chdir("/state"));
    must(chroot("/state/jail"));
}

static void check_outside(void) {
    expect_root("outside");
    struct stat here, root;
    expect(!stat(".", &here) && !stat("/", &root) && here.st_ino != root.st_ino && !access("root/file", F_OK),
           "the working directory is another one");
}

/// As hire() does, but without the facts: there is no /proc where they go.
static void send_away(void (*enter)(void), void (*check)(void)) {
    struct seat *seat = &crew->seats[atomic_fetch_add(&crew->count, 1)];
    if (must(fork())) {
        if (!within(10, atomic_load(&seat->present))) give_up("a child in another root", __LINE__);
        return;
    }
    my_seat = seat;
    enter();
    seat->pid = getpid();
    atomic_store(&seat->present, 1);
    sigset_t asked;
    sigemptyset(&asked), sigaddset(&asked, SIGUSR1);
    for (int signal;;) {
        while (sigwait(&asked, &signal)) {}
        check();
        atomic_store(&seat->answered, atomic_load(&crew->round));
    }
}

int main(void) {
    begin();
    send_away(enter_inner, check_inner);
    send_away(enter_outside, check_outside);
    ready();
    for (;;) {
        await_question();
        expect(!access("/state/root/file", F_OK) && !access("/state/jail/file", F_OK), "another root directory");
        verdict();
    }
}
