// Rings of io_uring for which threads of the kernel's submit (IORING_SETUP_SQPOLL), one of them on a processor of its own, and
// threads of the program's whose ids the kernel would give to those, if nobody told it which it gave last.
// needs kernel: 6.8
// seccomp: none
#include "ring.h"
#include <dirent.h>

static struct ring plain, old, bound;
static int file;
static uint64_t unread = 100;

static void *idle(void *argument) {
    for (;;) pause();
    return argument;
}

// Those of the kernel's that submit; and of them those that one processor has.
static void count_pollers(int *all, int *bound) {
    *all = *bound = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/self/task/%.20s/status", task->d_name);
        FILE *status = fopen(path, "r");
        bool polls = false;
        while (status && fgets(line, sizeof line, status)) {
            if (!strncmp(line, "Name:\tiou-sqp-", 14)) polls = true;
            if (polls && !strcmp(line, "Cpus_allowed_list:\t0\n")) ++*bound;
        }
        if (status) fclose(status);
        *all += polls;
    }
    closedir(tasks);
}

static void leave_unread(void) {
    prepare(&plain, IORING_OP_NOP, -1, 0, 0, unread);
    expect(enter(&plain, 1, 1) == 1, "nop is not taken");
}

static void use(struct ring *ring, const char *name) {
    char text[8] = "";
    prepare(ring, IORING_OP_READ, file, text, 5, 7);
    expect_result(ring, 7, 5, name);
    expect(!strcmp(text, "hello"), "%s: read \"%s\"", name, text);
    do_nothing(ring, 100);
    // Nobody asks the thread: it sees by itself what is put there while it is awake, and says when it has gone to sleep.
    prepare(ring, IORING_OP_NOP, -1, 0, 0, 8);
    bool done = within(5, completion(ring)
        || (*word(ring, ring->params.sq_off.flags) & IORING_SQ_NEED_WAKEUP && enter(ring, 0, 0) < 0));
    expect(done, "%s: nobody submits", name);
    if (completion(ring)) take(ring);
}

int main(void) {
    compared &= ~(STATUS | THREADS);   // the kernel's threads come and go
    begin();
    file = must(open("/state/text", O_RDWR | O_CREAT | O_TRUNC, 0644));
    must(write(file, "hello", 5));
    must(lseek(file, 0, SEEK_SET));
    start_thread(idle, 0);
    open_ring(&plain, 64, 0, IORING_SETUP_SQPOLL | NO_SQARRAY, false);
    open_ring(&old, 4, 256, IORING_SETUP_SQPOLL, true);
    open_ring(&bound, 8, 0, IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, false);
    start_thread(idle, 0);
    do_nothing(&plain, 3000);
    do_nothing(&old, 1001);
    leave_unread();
    int before, before_bound;
    count_pollers(&before, &before_bound);
    ready();
    for (;;) {
        await_question();
        struct io_uring_cqe *waits = completion(&plain);
        expect(waits && waits->user_data == unread && !waits->res, "the completion that nobody has read is not what it was");
        if (waits) take(&plain);
        unread++;
        use(&plain, "without array");
        use(&old, "with array");
        use(&bound, "on one processor");
        leave_unread();
        int all, some;
        count_pollers(&all, &some);
        expect(all == before && some == before_bound, "%d threads of the kernel's, %d on one processor; were %d, %d", all, some,
               before, before_bound);
        verdict();
    }
}
