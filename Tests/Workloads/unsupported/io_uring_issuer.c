// An io_uring that only one thread may use.
// refused: single_issuer
// seccomp: none
#include "../ring.h"

int main(void) {
    begin();
    struct ring ring = {0};
    open_ring(&ring, 4, 0, 1 << 12, false);   // IORING_SETUP_SINGLE_ISSUER
    note("descriptor %d\n", ring.file);
    ready();
    for (;;) {
        await_question();
        do_nothing(&ring, 3);
        verdict();
    }
}
