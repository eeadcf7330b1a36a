// A POSIX message queue of whose next message the process is to be notified.
// refused: mq_notify
#include "workload.h"
#include <mqueue.h>

static atomic_int told;

static void tell(int signal) {
    (void)signal;
    told++;
}

int main(void) {
    begin();
    signal(SIGUSR2, tell);
    struct mq_attr limits = {.mq_maxmsg = 4, .mq_msgsize = 8};
    mqd_t queue = must(mq_open("/held", O_RDWR | O_CREAT | O_NONBLOCK, 0600, &limits));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    must(mq_notify(queue, &event));
    note("queue /held\n");
    ready();
    for (;;) {
        await_question();
        char bytes[8];
        expect(!told, "it was notified of nothing");
        expect(!mq_send(queue, "x", 1, 0) && within(5, told == 1), "it was notified %d times", told);
        expect(mq_receive(queue, bytes, 8, 0) == 1 && !mq_notify(queue, &event), "the queue is gone");
        told = 0;
        verdict();
    }
}
