// A POSIX message queue with a message.
// refused: message queue
#include "workload.h"
#include <mqueue.h>

int main(void) {
    begin();
    struct mq_attr limits = {.mq_maxmsg = 4, .mq_msgsize = 64};
    mqd_t queue = must(mq_open("/held", O_RDWR | O_CREAT, 0600, &limits));
    must(mq_send(queue, "waiting", 8, 3));
    note("queue /held\n");
    ready();
    for (;;) {
        await_question();
        struct mq_attr now;
        expect(mq_getattr(queue, &now) == 0 && now.mq_curmsgs == 1, "%ld messages wait", now.mq_curmsgs);
        verdict();
    }
}
