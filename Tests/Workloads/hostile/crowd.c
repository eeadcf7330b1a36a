// Has very many of one kind of object: `crowd KIND COUNT`. Each is still there, and what it should be, when it is asked.
#include "workload.h"
#include <sys/eventfd.h>
#include <sys/socket.h>

static int count;

// ---- eventfds, each with a count of its own ----
static void make_eventfds(void) {
    for (int i = 0; i < count; i++) must(eventfd(i + 1, 0));
}
static void check_eventfds(void) {
    for (int i = 0; i < count; i++) {
        uint64_t value = 0;
        expect(read(3 + i, &value, 8) == 8 && value == (uint64_t)i + 1, "eventfd %d has %lu", i, value);
        expect(write(3 + i, &value, 8) == 8, "write");
    }
}

// ---- pairs of sockets, with one short message each, or full of them ----
static int (*pairs)[2], *messages, message[4096], length;
static void make_pairs(int most, int size) {
    length = size;
    pairs = calloc(count, sizeof *pairs);
    messages = calloc(count, sizeof *messages);
    for (int i = 0; i < count; i++) {
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pairs[i]));
        message[0] = i;
        while (messages[i] < most && send(pairs[i][0], message, length, 0) == length) messages[i]++;
    }
}
static void make_sockets(void) { make_pairs(1, sizeof(int)); }
static void make_queues(void) { make_pairs(1 << 30, sizeof(int)); }
static void make_bulk(void) { make_pairs(1 << 30, sizeof message); }
static void check_pairs(void) {
    for (int i = 0; i < count; i++) {
        for (int n = 0; n < messages[i]; n++)
            expect(recv(pairs[i][1], message, length, 0) == length && message[0] == i, "message %d of %d", n, i);
        expect(recv(pairs[i][1], message, length, 0) < 0, "one message too many in %d", i);
        for (int n = 0; n < messages[i]; n++) expect(send(pairs[i][0], message, length, 0) == length, "send");
    }
}

// ---- directories in each other on the tmpfs at /deep, with a file of two names at the bottom ----
static void go_down(bool makes) {
    char name[32];
    must(chdir("/deep"));
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "directory-%06d", i);
        if (makes) must(mkdir(name, 0700));
        if (chdir(name)) return expect(false, "%s: %s", name, strerror(errno));
    }
}
static void make_deep(void) {
    go_down(true);
    int file = must(open("bottom", O_CREAT | O_RDWR, 0600));
    must(write(file, "here", 4));
    must(close(file));
    must(link("bottom", "/deep/top"));
    must(chdir("/"));
}
static void check_deep(void) {
    go_down(false);
    struct stat top, bottom;
    expect(!stat("bottom", &bottom) && !stat("/deep/top", &top) && top.st_ino == bottom.st_ino && top.st_nlink == 2 &&
               top.st_size == 4,
           "the file at the bottom");
    must(chdir("/"));
}

// ---- mappings of one page each, of a file each ----
static char **mapped;
static void make_mappings(void) {
    mapped = calloc(count, sizeof *mapped);
    must(mkdir("/state/mapped", 0700));
    for (int i = 0; i < count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/state/mapped/%d", i);
        int file = must(open(path, O_CREAT | O_RDWR, 0600));
        must(pwrite(file, &i, sizeof i, 0));
        must(ftruncate(file, PAGE));
        mapped[i] = mmap(0, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
        must(close(file));
    }
}
static void check_mappings(void) {
    for (int i = 0; i < count; i++) expect(*(int *)mapped[i] == i, "mapping %d", i);
}

// ---- processes ----
static pid_t *children;
static void make_processes(void) {
    children = calloc(count, sizeof *children);
    for (int i = 0; i < count; i++) {
        pid_t child = must(fork());
        if (child == 0) {
            if (i % 2) setpgid(0, 0);
            for (;;) pause();
        }
        children[i] = child;
    }
}
static void check_processes(void) {
    for (int i = 0; i < count; i++) expect(!kill(children[i], 0) && !waitpid(children[i], 0, WNOHANG), "process %d", i);
}

static const struct {
    const char *name;
    void (*make)(void), (*check)(void);
} kinds[] = {{"eventfd", make_eventfds, check_eventfds},    {"socket", make_sockets, check_pairs},
             {"queue", make_queues, check_pairs},           {"bulk", make_bulk, check_pairs},
             {"deep", make_deep, check_deep},
             {"mapping", make_mappings, check_mappings},    {"process", make_processes, check_processes}};

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    count = atoi(argv[2]);
    for (size_t kind = 0; kind < COUNT(kinds); kind++) {
        if (strcmp(argv[1], kinds[kind].name)) continue;
        closefrom(3);
        begin();
        kinds[kind].make();
        ready();
        for (;;) {
            await_question();
            kinds[kind].check();
            verdict();
        }
    }
    return 2;
}
