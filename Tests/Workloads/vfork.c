// vfork: the parent sleeps in the kernel, where nothing stops it, until its child has another program or has ended. The
// children here take their time for that, so nearly every checkpoint meets one.
#include "workload.h"

static atomic_int *completed;
static int seen;

static void make_child(bool is_program) {
    pid_t child = vfork();
    if (!child) {
        pause_ms(20);
        if (!is_program) _exit(6);
        execl("/proc/self/exe", "workload", "child", NULL);
        _exit(96);
    }
    int status = 0;
    expect(child > 0 && waitpid(child, &status, 0) == child, "a child is lost");
    expect(WIFEXITED(status) && WEXITSTATUS(status) == (is_program ? 5 : 6), "a child ended with %x", status);
    atomic_fetch_add(completed, 1);
}

/// Every second child becomes another program, which ends with 5; the others end with 6.
static void *make_children(void *unused) {
    for (;;) {
        make_child(true);
        make_child(false);
    }
    return unused;
}

static void check(void) {
    expect(within(10, atomic_load(completed) > seen + 2), "after %d children came no other", seen);
    seen = atomic_load(completed);
}

static void in_thread(void) { start_thread(make_children, 0); }

int main(int count, char **words) {
    if (count > 1 && !strcmp(words[1], "child")) return 5;
    begin();
    completed = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    hire(in_thread, check);
    serve_checks(0);
}
