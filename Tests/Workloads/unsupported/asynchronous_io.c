// The ring of io_setup(2), which is mapped into the program.
// refused: io_setup
#include "workload.h"

int main(void) {
    begin();
    unsigned long context = 0;
    must(syscall(SYS_io_setup, 8, &context));
    note("descriptor none\n");
    ready();
    for (;;) {
        await_question();
        struct timespec none = {0, 0};
        char events[64];
        expect(!syscall(SYS_io_getevents, context, 0, 1, events, &none), "the ring is gone");
        verdict();
    }
}
