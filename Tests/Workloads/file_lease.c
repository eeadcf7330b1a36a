// Leases on files: for writing and for reading, with SIGIO and another signal; whoever opens the file waits for the holder,
// who is told.
// checkpoint: --file-locks
#include "workload.h"

static int writer, reader;
static sigset_t signals;

static int next_signal(int *descriptor) {
    siginfo_t information;
    struct timespec none = {0, 0};
    int signal = sigtimedwait(&signals, &information, &none);
    *descriptor = signal > 0 ? information.si_fd : -1;
    return signal;
}

static void check(int file, const char *path, int type, int signal) {
    int descriptor, status;
    expect(fcntl(file, F_GETLEASE) == type, "%s: the lease is %d", path, fcntl(file, F_GETLEASE));
    expect(fcntl(file, F_GETFL) & O_ASYNC, "%s: flags %o", path, fcntl(file, F_GETFL));
    expect(next_signal(&descriptor) == -1, "%s: told of nothing", path);
    pid_t breaker = must(fork());
    if (!breaker) {
        int opened = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        _exit(opened == -1 && errno == EWOULDBLOCK ? 0 : 1);
    }
    must(waitpid(breaker, &status, 0));
    expect(status == 0, "%s: is opened at once", path);
    int came = next_signal(&descriptor);
    expect(came == signal && (signal == SIGIO || descriptor == file), "%s: signal %d of descriptor %d", path, came, descriptor);
    must(fcntl(file, F_SETLEASE, F_UNLCK));   // which forgets the owner and the signal
    must(fcntl(file, F_SETSIG, signal == SIGIO ? 0 : signal));
    must(fcntl(file, F_SETLEASE, type));
}

int main(void) {
    begin();
    sigemptyset(&signals);
    sigaddset(&signals, SIGIO);
    sigaddset(&signals, SIGRTMIN + 1);
    must(sigprocmask(SIG_BLOCK, &signals, 0));
    writer = must(open("/state/written", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    close(must(open("/state/read", O_RDWR | O_CREAT | O_CLOEXEC, 0644)));
    reader = must(open("/state/read", O_RDONLY | O_CLOEXEC));
    must(fcntl(writer, F_SETLEASE, F_WRLCK));
    must(fcntl(reader, F_SETSIG, SIGRTMIN + 1));
    must(fcntl(reader, F_SETLEASE, F_RDLCK));
    note("descriptor %d\n", writer);
    ready();
    for (;;) {
        await_question();
        check(writer, "/state/written", F_WRLCK, SIGIO);
        check(reader, "/state/read", F_RDLCK, SIGRTMIN + 1);
        verdict();
    }
}
