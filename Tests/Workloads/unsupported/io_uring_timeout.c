// An io_uring with a time-out under way, of which /proc says nothing.
// refused: request(s)
// seccomp: none
#include "../ring.h"

int main(void) {
    begin();
    struct ring ring = {0};
    struct __kernel_timespec hours = {100000, 0};
    open_ring(&ring, 4, 0, 0, false);
    do_nothing(&ring, 3);
    prepare(&ring, IORING_OP_TIMEOUT, -1, &hours, 1, 5);
    must(enter(&ring, 1, 0));
    note("descriptor %d\n", ring.file);
    ready();
    for (;;) {
        await_question();
        expect(!completion(&ring) && enter(&ring, 0, 0) == 0, "the time-out has ended");
        verdict();
    }
}
