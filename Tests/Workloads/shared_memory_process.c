// Processes that share memory (CLONE_VM) without being threads: one with the signal actions, one with descriptors and directory
// too, as LinuxThreads were, one with the memory alone, whose child has it as well; and one with memory of its own, forked of it.
#include "workload.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/eventfd.h>

enum { WITH_ACTIONS, EVERYTHING, MEMORY, BELOW, KINDS };
static const unsigned long shared[KINDS] = {
    CLONE_VM | CLONE_SIGHAND, CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS, CLONE_VM, CLONE_VM};

static struct {
    int asked, answered;
    long pid, parent;
    void *handler;
    long written, mapped;
    char stack[8 << 10] __attribute__((aligned(16)));
} tasks[KINDS];
static int descriptor;

/// Without errno, which these processes have in common.
static long raw(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
        : "rcx", "r11", "memory");
    return result;
}

static int work(void *argument) {
    long i = (long)argument, counted = 0;   // on a stack that only this one uses
    if (i == MEMORY) clone(work, tasks[BELOW].stack + sizeof tasks[BELOW].stack, (int)shared[BELOW] | SIGCHLD, (void *)BELOW);
    for (;; counted++) {
        int round = __atomic_load_n(&tasks[i].asked, __ATOMIC_SEQ_CST);
        if (round == tasks[i].answered) {
            raw(SYS_futex, (long)&tasks[i].asked, FUTEX_WAIT, round, 0, 0, 0);
            counted--;
            continue;
        }
        struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } action = {0};
        raw(SYS_rt_sigaction, SIGUSR2, 0, (long)&action, 8, 0, 0);
        tasks[i].handler = action.handler;
        tasks[i].pid = raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
        tasks[i].parent = raw(SYS_getppid, 0, 0, 0, 0, 0, 0);
        uint64_t one = 1;
        tasks[i].written = raw(SYS_write, descriptor, (long)&one, 8, 0, 0, 0);
        tasks[i].mapped = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (tasks[i].mapped > 0) *(long *)tasks[i].mapped = counted;
        __atomic_store_n(&tasks[i].answered, round, __ATOMIC_SEQ_CST);
    }
    return 0;
}

static void handler(int signal) { (void)signal; }

static int ask(int i) {
    int round = __atomic_add_fetch(&tasks[i].asked, 1, __ATOMIC_SEQ_CST);
    raw(SYS_futex, (long)&tasks[i].asked, FUTEX_WAKE, 1, 0, 0, 0);
    bool came = within(10, __atomic_load_n(&tasks[i].answered, __ATOMIC_SEQ_CST) == round);
    expect(came, "process %d does not answer", i);
    return came;
}

static long alone = 1;

static void check_forked(void) { expect(alone == 1, "a forked process has its parent's memory"); }

int main(void) {
    begin();
    for (long i = 0; i < BELOW; i++)
        must(clone(work, tasks[i].stack + sizeof tasks[i].stack, (int)shared[i] | SIGCHLD, (void *)i));
    hire(0, check_forked);
    alone = 2;
    descriptor = must(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));   // after the others have got their tables
    long pids[KINDS];
    for (int i = 0; i < KINDS; i++) {
        if (!ask(i)) give_up("a process that shares memory", __LINE__);
        pids[i] = tasks[i].pid;
        must(munmap((void *)tasks[i].mapped, PAGE));
    }
    uint64_t count;
    must(read(descriptor, &count, sizeof count));
    ready();
    for (long round = 1;; round++) {
        await_question();
        void *now = round % 2 ? (void *)handler : SIG_DFL;
        signal(SIGUSR2, now);
        for (int i = 0; i < KINDS; i++) {
            if (!ask(i)) continue;
            bool follows = shared[i] & CLONE_SIGHAND;
            expect(tasks[i].handler == (follows ? now : SIG_DFL), "process %d has handler %p", i, tasks[i].handler);
            expect(tasks[i].pid == pids[i] && tasks[i].parent == (i == BELOW ? pids[MEMORY] : getpid()),
                "process %d is %ld, a child of %ld", i, tasks[i].pid, tasks[i].parent);
            expect((tasks[i].written == 8) == (i == EVERYTHING), "process %d: write says %ld", i, tasks[i].written);
            expect(tasks[i].mapped > 0 && *(long *)tasks[i].mapped == round, "process %d has counted to %ld", i,
                *(long *)tasks[i].mapped);
            expect(!munmap((void *)tasks[i].mapped, PAGE), "what process %d has mapped is not here", i);
        }
        expect(read(descriptor, &count, sizeof count) == 8 && count == 1, "%ld writes", (long)count);
        signal(SIGUSR2, SIG_DFL);
        alone = 2;
        verdict();
    }
}
