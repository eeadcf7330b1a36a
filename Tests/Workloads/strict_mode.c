// Strict seccomp mode, in which there are read, write, exit and sigreturn alone: in a thread that waits, and in a child.
// seccomp: none
#include "workload.h"
#include <linux/seccomp.h>
#include <signal.h>

static int to_thread[2], from_thread[2], to_child[2], from_child[2];
static atomic_int thread;
static pid_t child;
static volatile int handled;

/// Gives back each byte, one more. It asks no clock: the kernel has taken the time stamps away, too.
static void serve(int from, int to) {
    for (;;) {
        unsigned char byte;
        if (syscall(SYS_read, from, &byte, 1) != 1) syscall(SYS_exit, 1);
        byte++;
        if (syscall(SYS_write, to, &byte, 1) != 1) syscall(SYS_exit, 2);
    }
}

static void *be_strict(void *unused) {
    atomic_store(&thread, (int)syscall(SYS_gettid));
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 0));
    serve(to_thread[0], from_thread[1]);
    return unused;
}

static void count(int signal) { handled += signal == SIGUSR2; }

static bool is_strict(const char *path) {
    slurp(path);
    const char *line = strstr(slurped, "\nSeccomp:\t");
    return line && line[10] == '1';
}

static void ask(const char *who, int to, int from, const char *status) {
    unsigned char byte = 7 + questions;
    expect(write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1 && byte == (unsigned char)(8 + questions),
           "%s answers %d", who, byte);
    expect(is_strict(status), "%s is in strict mode no more", who);
}

int main(void) {
    begin();
    must(pipe(to_thread)), must(pipe(from_thread)), must(pipe(to_child)), must(pipe(from_child));
    start_thread(be_strict, 0);
    signal(SIGUSR2, count);
    if (!(child = must(fork()))) {
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0));
        serve(to_child[0], from_child[1]);
    }
    char of_thread[60], of_child[60];
    snprintf(of_thread, sizeof of_thread, "/proc/self/task/%d/status", atomic_load(&thread));
    snprintf(of_child, sizeof of_child, "/proc/%d/status", child);
    if (!within(10, is_strict(of_thread) && is_strict(of_child))) give_up("strict mode", __LINE__);
    ready();
    for (;;) {
        await_question();
        // A handler may run there, and return.
        expect(!kill(child, SIGUSR2), "the child is gone");
        ask("the child", to_child[1], from_child[0], of_child);
        ask("the thread", to_thread[1], from_thread[0], of_thread);
        expect(!prctl(PR_GET_SECCOMP, 0, 0, 0, 0), "the first thread is in strict mode");
        verdict();
    }
}
