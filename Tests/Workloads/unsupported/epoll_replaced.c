// An epoll set with two registrations by one number: of a file whose descriptor was closed, and of the one that has the
// number now, which the kernel lists first.
// refused: registration
#include "workload.h"
#include <sys/epoll.h>

static int set, number;

static void add(int file, uint64_t data) {
    must(dup2(file, number));
    struct epoll_event registration = {.events = EPOLLIN, .data.u64 = data};
    must(epoll_ctl(set, EPOLL_CTL_ADD, number, &registration));
}

static unsigned long first_listed(void) {
    char path[64], text[1000] = "";
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
    int file = must(open(path, O_RDONLY | O_CLOEXEC));
    must(read(file, text, sizeof text - 1));
    close(file);
    char *line = strstr(text, "tfd:"), *inode = line ? strstr(line, "ino:") : 0;
    return inode ? strtoul(inode + 4, 0, 16) : 0;
}

int main(void) {
    begin();
    int pipes[2][2];
    struct stat files[2];
    for (int i = 0; i < 2; i++) {
        must(pipe(pipes[i]));
        must(fstat(pipes[i][0], &files[i]));
        must(write(pipes[i][1], "x", 1));
    }
    for (int last = 1; last >= 0; last--) {
        set = must(epoll_create1(EPOLL_CLOEXEC));
        number = must(dup(pipes[0][0]));
        add(pipes[!last][0], !last);
        add(pipes[last][0], last);
        if (first_listed() == files[last].st_ino) break;
        if (!last) give_up("an order of registrations", __LINE__);
        close(set);
    }
    note("descriptor %d\n", set);
    ready();
    for (;;) {
        await_question();
        struct epoll_event got[3];
        expect(epoll_wait(set, got, 3, 0) == 2 && got[0].data.u64 + got[1].data.u64 == 1, "a registration is gone");
        verdict();
    }
}
