// Calls that a stop ends with EINTR although no handler runs (signal(7)): no program expects that of a checkpoint. Each
// sleeps in a thread of its own, without end or for a time that is over long after the test.
#include "workload.h"
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>

enum { CALLS = 4 };
static const char *const names[CALLS] = {"epoll_wait", "sigtimedwait", "recv with SO_RCVTIMEO", "accept with SO_RCVTIMEO"};
static atomic_int asleep[CALLS], ended[CALLS];
static int poll, pair[2], listener;

static void note_end(int call, long result) {
    if (result >= 0 || errno != EINTR) return;
    expect(false, "%s ended with EINTR", names[call]);
    atomic_fetch_add(&ended[call], 1);
}

static void *sleeper(void *argument) {
    int call = (int)(long)argument;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    struct timespec long_time = {1000, 0};
    struct epoll_event event;
    char byte;
    for (;;) {
        atomic_fetch_add(&asleep[call], 1);
        if (call == 0) note_end(call, epoll_wait(poll, &event, 1, -1));
        if (call == 1) note_end(call, sigtimedwait(&set, 0, &long_time));
        if (call == 2) note_end(call, recv(pair[0], &byte, 1, 0));
        if (call == 3) note_end(call, accept(listener, 0, 0));
    }
    return 0;
}

/// Each call was made once and sleeps still: one that ended, with whatever answer, would have been made again.
static void check(void) {
    for (int i = 0; i < CALLS; i++) expect(atomic_load(&asleep[i]) == 1, "%s was made %d times", names[i], atomic_load(&asleep[i]));
}

int main(void) {
    begin();
    poll = must(epoll_create1(EPOLL_CLOEXEC));
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    struct timeval time = {1000, 0};
    must(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, &(struct sockaddr){AF_UNIX, "\0stasis"}, 9));
    must(listen(listener, 1));
    must(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    must(sigprocmask(SIG_BLOCK, &blocked, 0));
    for (long i = 0; i < CALLS; i++) start_thread(sleeper, (void *)i);
    for (int i = 0; i < CALLS; i++)
        if (!within(10, atomic_load(&asleep[i]) == 1)) give_up("a call", __LINE__);
    serve_checks(check);
}
