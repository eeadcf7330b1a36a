// A process whose first thread has ended before the others: to /proc it looks like one that has ended, and its parent
// hears of its end when the last thread is gone. What that first thread was can still be seen.
// needs kernel: 6.9
// capabilities: CAP_SETUID CAP_SETGID
#include "workload.h"
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

static struct {
    atomic_long steps;
    atomic_int is_up, read, looked, alarms, deaths, grandchild_ends, ends;
    pid_t child, thread, grandchild;
} *shared;
static int pipe_ends[2], pair[2], process_pidfd = -1;

/// What a line of a status file says.
static const char *told(const char *name, const char *format, ...) {
    char path[60];
    va_list values;
    va_start(values, format);
    vsnprintf(path, sizeof path, format, values);
    va_end(values);
    size_t length = strlen(name);
    slurp(path);
    for (char *rest, *line = strtok_r(slurped, "\n", &rest); line; line = strtok_r(0, "\n", &rest))
        if (!strncmp(line, name, length) && line[length] == ':') return line + length + 2;
    return "?";
}

static bool has_lost_its_leader(void) { return told("State", "/proc/%d/status", shared->child)[0] == 'Z'; }

static void on_alarm(int signal) { atomic_fetch_add(&shared->alarms, signal == SIGALRM); }

/// A child of one of the threads, which is told when its parent dies: by now that is not the first thread.
static void be_a_grandchild(void) {
    sigset_t death;
    struct timespec soon = {0, 1000000};
    sigemptyset(&death);
    sigaddset(&death, SIGUSR2);
    must(sigprocmask(SIG_BLOCK, &death, 0));
    must(prctl(PR_SET_PDEATHSIG, SIGUSR2));
    shared->grandchild = getpid();
    atomic_store(&shared->is_up, 1);
    while (!atomic_load(&shared->grandchild_ends))
        if (sigtimedwait(&death, 0, &soon) == SIGUSR2) atomic_fetch_add(&shared->deaths, 1);
    _exit(0);
}

static void *count_steps(void *unused) {
    shared->thread = syscall(SYS_gettid);
    while (!has_lost_its_leader()) pause_ms(1);
    if (!must(fork())) be_a_grandchild();
    while (!atomic_load(&shared->ends)) {
        char word[6] = "";
        bool waits = recv(pair[0], word, 5, MSG_PEEK | MSG_DONTWAIT) == 5 && !strcmp(word, "waits");
        atomic_fetch_add(&shared->looked, waits);
        atomic_fetch_add(&shared->steps, 1);
        pause_ms(1);
    }
    syscall(SYS_exit, 5);   // of this thread alone
    return unused;
}

static void *read_bytes(void *unused) {
    char byte;
    while (read(pipe_ends[0], &byte, 1) == 1 && byte != 'q') atomic_fetch_add(&shared->read, 1);
    syscall(SYS_exit, 6);
    return unused;
}

static void start(void) {
    memset(shared, 0, sizeof *shared);
    pid_t child = must(fork());
    if (!child) {
        shared->child = getpid();
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));   // nobody else has it
        must(write(pair[1], "waits", 5));
        signal(SIGALRM, on_alarm);
        signal(SIGCHLD, SIG_IGN);
        start_thread(count_steps, 0);
        start_thread(read_bytes, 0);
        must(prctl(PR_SET_NAME, "leads no more"));
        must(syscall(SYS_setpriority, PRIO_PROCESS, 0, 3));
        must(syscall(SYS_setresgid, -1, 815, -1));   // of this thread alone
        must(syscall(SYS_setresuid, -1, 4711, -1));
        syscall(SYS_exit, 9);
    }
    if (!within(10, atomic_load(&shared->is_up))) give_up("a first thread that ends", __LINE__);
    if (process_pidfd >= 0) close(process_pidfd);
    process_pidfd = must(syscall(SYS_pidfd_open, child, 0));
}

static void check(void) {
    pid_t child = shared->child;
    expect(has_lost_its_leader(), "its first thread lives");
    expect(!strcmp(told("Name", "/proc/%d/status", child), "leads no more"), "its first thread is %s", slurped);
    expect(!strcmp(told("Threads", "/proc/%d/status", child), "3"), "not 3 threads");
    expect(!strcmp(told("Uid", "/proc/%d/status", child), "0\t4711\t0\t4711"), "its first thread is another user's");
    expect(!strcmp(told("Gid", "/proc/%d/status", child), "0\t815\t0\t815"), "its first thread is another group's");
    expect(!strcmp(told("CapEff", "/proc/%d/status", child), "0000000000000000"), "its first thread may do something");
    expect(getpriority(PRIO_PROCESS, child) == 3, "its first thread has nice %d", getpriority(PRIO_PROCESS, child));
    expect(!strcmp(told("Gid", "/proc/%d/task/%d/status", child, shared->thread), "0\t0\t0\t0"), "another one's group");
    expect(waitpid(child, 0, WNOHANG) == 0, "its parent can bury it");
    expect(poll(&(struct pollfd){process_pidfd, POLLIN, 0}, 1, 0) == 0, "its pidfd tells of its end");
    long steps = atomic_load(&shared->steps);
    expect(within(10, atomic_load(&shared->steps) > steps), "a thread does not go on");
    int looked = atomic_load(&shared->looked);
    expect(within(10, atomic_load(&shared->looked) > looked), "what waits in its socket is gone");
    int read = atomic_load(&shared->read), alarms = atomic_load(&shared->alarms);
    expect(write(pipe_ends[1], "x", 1) == 1 && within(10, atomic_load(&shared->read) == read + 1), "nobody reads");
    expect(!kill(child, SIGALRM) && within(10, atomic_load(&shared->alarms) == alarms + 1), "it takes no signal");
    expect(atoi(told("PPid", "/proc/%d/status", shared->grandchild)) == child, "its child is another's");
    expect(!atomic_load(&shared->deaths), "its child was told of a death");
}

/// When all threads are gone, the last one's exit code counts.
static void check_end(void) {
    atomic_store(&shared->grandchild_ends, 1);
    expect(within(10, kill(shared->grandchild, 0)), "its child does not end");
    atomic_store(&shared->ends, 1);
    expect(write(pipe_ends[1], "q", 1) == 1, "cannot write to the pipe");
    int code = 0;
    expect(within(10, waitpid(shared->child, &code, WNOHANG) == shared->child), "its end is not told");
    expect(WIFEXITED(code) && (WEXITSTATUS(code) == 5 || WEXITSTATUS(code) == 6), "it ended with %x", code);
    expect(poll(&(struct pollfd){process_pidfd, POLLIN, 0}, 1, 0) == 1, "its pidfd does not tell of its end");
}

int main(void) {
    begin();
    must(pipe(pipe_ends));
    shared = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    start();
    ready();
    for (;;) {
        await_question();
        check();
        check_end();
        start();
        verdict();
    }
}
