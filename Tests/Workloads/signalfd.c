// Signal descriptors: their mask, what waits in them, and their mode.
#include "workload.h"
#include <sys/signalfd.h>

static int waiting, nonblocking;

static void send(void) {
    must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 4321}));
    must(kill(getpid(), SIGWINCH));
}

int main(void) {
    begin();
    sigset_t first, second, both;
    sigemptyset(&first), sigemptyset(&second);
    sigaddset(&first, SIGRTMIN + 3), sigaddset(&first, SIGWINCH);
    sigaddset(&second, SIGHUP);
    sigorset(&both, &first, &second);
    must(sigprocmask(SIG_BLOCK, &both, 0));
    waiting = must(signalfd(-1, &first, 0));
    nonblocking = must(signalfd(-1, &second, SFD_NONBLOCK | SFD_CLOEXEC));
    send();
    ready();
    for (;;) {
        await_question();
        struct signalfd_siginfo got[3];
        expect(read(waiting, got, sizeof got) == 2 * sizeof got[0], "not two signals wait");
        expect(got[0].ssi_signo == SIGWINCH && got[0].ssi_code == SI_USER, "the first is signal %u", got[0].ssi_signo);
        expect((int)got[1].ssi_signo == SIGRTMIN + 3 && got[1].ssi_int == 4321, "the second has value %d", got[1].ssi_int);
        expect(read(nonblocking, got, sizeof got) == -1 && errno == EAGAIN, "a signal that nobody sent");
        must(kill(getpid(), SIGHUP));
        expect(read(nonblocking, got, sizeof got) == sizeof got[0] && got[0].ssi_signo == SIGHUP, "SIGHUP does not come");
        send();
        verdict();
    }
}
