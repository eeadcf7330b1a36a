// Unix sockets whose files are not called as they were bound: renamed since, and by relative names; with connections that
// were accepted from them, and a letterbox.
#include "workload.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un early = {AF_UNIX, "/state/server.sock.tmp"}, local = {AF_UNIX, "inner/local"},
                          mail = {AF_UNIX, "mail"};
static int renamed, relative, box, clients[2], servers[2];

static int bind_to(const struct sockaddr_un *name, int type) {
    int made = must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    must(bind(made, (const struct sockaddr *)name, offsetof(struct sockaddr_un, sun_path) + strlen(name->sun_path) + 1));
    return made;
}

static int reach(const char *path, int type) {
    struct sockaddr_un name = {AF_UNIX, ""};
    strcpy(name.sun_path, path);
    int made = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (made >= 0 && connect(made, (struct sockaddr *)&name, sizeof name)) {
        close(made);
        return -1;
    }
    return made;
}

static void expect_name(int socket, const struct sockaddr_un *name) {
    struct sockaddr_un is = {0};
    socklen_t length = sizeof is;
    expect(!getsockname(socket, (struct sockaddr *)&is, &length) && !strcmp(is.sun_path, name->sun_path) &&
               length == offsetof(struct sockaddr_un, sun_path) + strlen(name->sun_path) + 1,
           "`%s` is called `%s`", name->sun_path, is.sun_path);
}

static void check_listener(int listener, const char *path) {
    int client = reach(path, SOCK_STREAM), server = client < 0 ? -1 : accept4(listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
    expect(client >= 0 && server >= 0, "nobody listens at %s", path);
    close(client), close(server);
}

static void check_connection(int i, const struct sockaddr_un *name) {
    char byte = 0;
    expect(write(clients[i], "c", 1) == 1 && read(servers[i], &byte, 1) == 1 && byte == 'c', "connection %d is cut", i);
    expect_name(servers[i], name);
}

int main(void) {
    begin();
    renamed = bind_to(&early, SOCK_STREAM);
    must(listen(renamed, 5));
    must(chmod(early.sun_path, 0600));
    must(rename(early.sun_path, "/state/server.sock"));
    must(mkdir("/state/queue", 0755)), must(mkdir("/state/queue/inner", 0755));
    must(chdir("/state/queue"));
    relative = bind_to(&local, SOCK_STREAM);
    must(listen(relative, 5));
    box = bind_to(&mail, SOCK_DGRAM);
    must(chdir("/state"));
    clients[0] = must(reach("/state/server.sock", SOCK_STREAM));
    servers[0] = must(accept4(renamed, 0, 0, SOCK_CLOEXEC));
    clients[1] = must(reach("/state/queue/inner/local", SOCK_STREAM));
    servers[1] = must(accept4(relative, 0, 0, SOCK_CLOEXEC));
    ready();
    for (;;) {
        await_question();
        expect_name(renamed, &early), expect_name(relative, &local), expect_name(box, &mail);
        check_listener(renamed, "/state/server.sock");
        check_listener(relative, "/state/queue/inner/local");
        check_connection(0, &early), check_connection(1, &local);
        struct stat is;
        expect(!stat("/state/server.sock", &is) && is.st_mode == (S_IFSOCK | 0600), "mode %o", is.st_mode);
        expect(stat(early.sun_path, &is) < 0 && errno == ENOENT, "%s is there again", early.sun_path);
        int sender = reach("/state/queue/mail", SOCK_DGRAM);
        char letter[8] = "";
        expect(send(sender, "letter", 6, 0) == 6 && recv(box, letter, 8, MSG_DONTWAIT) == 6, "the letter is lost");
        close(sender);
        verdict();
    }
}
