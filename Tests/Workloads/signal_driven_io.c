// Signal-driven I/O (O_ASYNC): on a pipe, a FIFO, a socket pair and a TCP socket that listens; with SIGIO and another signal
// (F_SETSIG), to the process, a thread and a group. Nothing is signalled that has not happened.
#include "workload.h"
#include <arpa/inet.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { PIPE, FIFO, SOCKET, LISTENER, OFF, ENDED, KINDS };
static int reader[KINDS], writer[KINDS];
static sigset_t signals;
static struct sockaddr_in address;
static atomic_int thread_id, thread_asked, thread_signal;

/// The next signal that waits, and the descriptor that it names.
static int next_signal(int *descriptor) {
    siginfo_t information;
    struct timespec none = {0, 0};
    int signal = sigtimedwait(&signals, &information, &none);
    *descriptor = signal > 0 ? information.si_fd : -1;
    return signal;
}

static void *take_signals(void *unused) {
    atomic_store(&thread_id, (int)syscall(SYS_gettid));
    for (;;) {
        int descriptor;
        if (atomic_load(&thread_asked)) {
            atomic_store(&thread_signal, next_signal(&descriptor));
            atomic_store(&thread_asked, 0);
        }
        pause_ms(1);
    }
    return unused;
}

static int asked_thread(void) {
    atomic_store(&thread_asked, 1);
    if (!within(5, !atomic_load(&thread_asked))) return -2;
    return atomic_load(&thread_signal);
}

static void arm(int kind, int type, pid_t owner, int signal) {
    struct f_owner_ex to = {type, owner};
    must(fcntl(reader[kind], F_SETOWN_EX, &to));
    must(fcntl(reader[kind], F_SETSIG, signal));
    if (kind != OFF) must(fcntl(reader[kind], F_SETFL, fcntl(reader[kind], F_GETFL) | O_ASYNC));
}

static void expect_signal(int kind, const char *what, int signal) {
    int descriptor, came = next_signal(&descriptor);
    expect(came == signal, "%s: signal %d instead of %d", what, came, signal);
    if (signal >= SIGRTMIN) expect(descriptor == reader[kind], "%s: it names %d instead of %d", what, descriptor, reader[kind]);
    expect(next_signal(&descriptor) == -1, "%s: a further signal", what);
}

static void expect_async(int kind, const char *what) {
    int descriptor;
    expect(fcntl(reader[kind], F_GETFL) & O_ASYNC, "%s: flags %o", what, fcntl(reader[kind], F_GETFL));
    expect(next_signal(&descriptor) == -1, "%s: a signal that nothing caused", what);
    must(write(writer[kind], "x", 1));
}

static void drain(int kind) {
    char byte;
    int descriptor;
    must(read(reader[kind], &byte, 1));
    while (next_signal(&descriptor) > 0) {}
}

int main(void) {
    begin();
    sigemptyset(&signals);
    sigaddset(&signals, SIGIO);
    for (int i = 1; i < 6; i++) sigaddset(&signals, SIGRTMIN + i);
    must(sigprocmask(SIG_BLOCK, &signals, 0));
    start_thread(take_signals, 0);
    if (!within(5, atomic_load(&thread_id))) give_up("a thread", __LINE__);
    int ends[2];
    static const int pipes[] = {PIPE, OFF, ENDED};
    for (int i = 0; i < 3; i++) {
        must(pipe2(ends, O_CLOEXEC));
        reader[pipes[i]] = ends[0], writer[pipes[i]] = ends[1];
    }
    close(writer[ENDED]);   // before it asks for signals: this is not told
    must(mkfifo("/state/fifo", 0600));
    reader[FIFO] = must(open("/state/fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    writer[FIFO] = must(open("/state/fifo", O_WRONLY | O_CLOEXEC));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    reader[SOCKET] = ends[0], writer[SOCKET] = ends[1];
    reader[LISTENER] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address = (struct sockaddr_in){AF_INET, htons(4711), {htonl(INADDR_LOOPBACK)}, {0}};
    int yes = 1;
    must(setsockopt(reader[LISTENER], SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    must(bind(reader[LISTENER], (void *)&address, sizeof address));
    must(listen(reader[LISTENER], 4));
    arm(PIPE, F_OWNER_PID, getpid(), SIGRTMIN + 1);
    arm(FIFO, F_OWNER_PGRP, getpgrp(), 0);
    arm(SOCKET, F_OWNER_TID, thread_id, SIGRTMIN + 2);
    arm(LISTENER, F_OWNER_PID, getpid(), SIGRTMIN + 3);
    arm(OFF, F_OWNER_PID, getpid(), SIGRTMIN + 4);
    arm(ENDED, F_OWNER_PID, getpid(), SIGRTMIN + 5);
    ready();
    for (;;) {
        await_question();
        int descriptor;
        expect(next_signal(&descriptor) == -1, "a signal that nothing caused");
        expect(asked_thread() == -1, "the thread has a signal that nothing caused");
        expect_async(PIPE, "pipe");
        expect_signal(PIPE, "pipe", SIGRTMIN + 1);
        drain(PIPE);
        expect_async(FIFO, "FIFO");
        expect_signal(FIFO, "FIFO", SIGIO);
        drain(FIFO);
        expect_async(SOCKET, "socket");
        expect(next_signal(&descriptor) == -1, "a signal for the thread comes to the process");
        expect(asked_thread() == SIGRTMIN + 2, "socket: signal %d", atomic_load(&thread_signal));
        drain(SOCKET);
        while (asked_thread() > 0) {}
        struct f_owner_ex owner;
        must(fcntl(reader[SOCKET], F_GETOWN_EX, &owner));
        expect(owner.type == F_OWNER_TID && owner.pid == thread_id, "socket: owner %d of type %d", owner.pid, owner.type);
        must(write(writer[OFF], "x", 1));
        expect(next_signal(&descriptor) == -1 && !(fcntl(reader[OFF], F_GETFL) & O_ASYNC), "signals were switched on");
        drain(OFF);
        int client = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(client, (void *)&address, sizeof address));
        expect(within(5, next_signal(&descriptor) == SIGRTMIN + 3) && descriptor == reader[LISTENER], "listener: no signal");
        struct linger reset = {1, 0};   // leaves nothing behind
        must(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        int accepted = must(accept4(reader[LISTENER], 0, 0, SOCK_CLOEXEC));
        close(client);
        close(accepted);
        while (next_signal(&descriptor) > 0) {}
        verdict();
    }
}
