// Threads with a working directory and umask of their own, as file servers have them: unshare(2) CLONE_FS.
#include "workload.h"

enum { PLAIN, MOVED, MASKED, BOTH, KINDS };

static struct {
    atomic_int asked, answered;
    char directory[200];
    mode_t mask;
    bool finds;
} threads[KINDS];
static const char *const directories[KINDS] = {"/", "/state", "/", "/proc"};
static const mode_t masks[KINDS] = {022, 022, 077, 027};

static void *tell(void *kind) {
    int i = (long)kind;
    if (i != PLAIN) must(unshare(CLONE_FS));
    if (i == MOVED || i == BOTH) must(chdir(directories[i]));
    if (i == MASKED || i == BOTH) umask(masks[i]);
    for (;;) {
        atomic_store(&threads[i].answered, atomic_load(&threads[i].asked));
        while (atomic_load(&threads[i].asked) == atomic_load(&threads[i].answered)) pause_ms(1);
        if (!getcwd(threads[i].directory, sizeof threads[i].directory)) threads[i].directory[0] = 0;
        threads[i].mask = umask(0);
        umask(threads[i].mask);
        threads[i].finds = !access(i == MOVED ? "ready" : i == BOTH ? "self/status" : "state/ready", F_OK);
    }
    return 0;
}

static void ask(int i) {
    int round = atomic_fetch_add(&threads[i].asked, 1) + 1;
    expect(within(10, atomic_load(&threads[i].answered) == round), "thread %d does not answer", i);
}

int main(void) {
    begin();
    must(chdir("/"));
    umask(022);
    for (long i = 0; i < KINDS; i++) start_thread(tell, (void *)i);
    for (int i = 0; i < KINDS; i++) ask(i);
    ready();
    for (;;) {
        await_question();
        for (int i = 0; i < KINDS; i++) {
            ask(i);
            expect(!strcmp(threads[i].directory, directories[i]), "thread %d is in %s", i, threads[i].directory);
            expect(threads[i].mask == masks[i], "thread %d has umask %o", i, threads[i].mask);
            expect(threads[i].finds, "thread %d does not find its file", i);
        }
        // What the process shares, one of the threads shares too.
        must(chdir("/dev"));
        for (int i = 0; i < KINDS; i++) {
            ask(i);
            expect(!strcmp(threads[i].directory, i == PLAIN ? "/dev" : directories[i]), "thread %d went along", i);
        }
        must(chdir("/"));
        verdict();
    }
}
