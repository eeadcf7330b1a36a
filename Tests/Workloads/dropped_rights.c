// A daemon that opened its log, bound its socket and went to its directory as root, and then gave all rights up.
// capabilities: CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE
#include "workload.h"
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name = {AF_UNIX, "/state/run/socket"};

int main(void) {
    begin();
    append("/state/verdict", "");
    must(chmod("/state/verdict", 0666));
    must(mkdir("/state/run", 0700));
    int folder = must(open("/state/run", O_PATH | O_DIRECTORY | O_CLOEXEC));
    must(mkdir("/state/run/home", 0711));
    must(chdir("/state/run/home"));
    int log = must(open("/state/run/log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    must(write(log, "first", 5));
    int listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 5));
    must(chmod(name.sun_path, 0640));
    must(chown(name.sun_path, 7, 8));
    // The crew's page and /state stay the harness's.
    must(chmod("/state", 0777));
    must(prctl(PR_SET_KEEPCAPS, 0));
    must(setgroups(0, 0));
    must(setresgid(1000, 1000, 1000));
    must(setresuid(1000, 1000, 1000));
    // Its own files in /proc stay its own.
    must(prctl(PR_SET_DUMPABLE, 1));
    int own = must(open("/proc/self/environ", O_RDONLY | O_CLOEXEC));
    ready();
    for (;;) {
        await_question();
        char byte;
        expect(write(log, "more", 4) == 4, "the log cannot be written: %s", strerror(errno));
        expect(open("/state/run/log", O_RDONLY) < 0 && errno == EACCES, "rights have come back");
        expect(openat(folder, "log", O_RDONLY) < 0 && errno == EACCES, "rights have come back by a directory");
        expect(pread(own, &byte, 1, 0) == 1, "its environment cannot be read: %s", strerror(errno));
        struct stat is;
        expect(!fstat(listener, &is) && is.st_mode == (S_IFSOCK | 0777), "the socket itself has mode %o", is.st_mode);
        verdict();
    }
}
