// An io_uring with its rings mapped.
// refused: io_uring
// seccomp: none
#include "workload.h"
#include <linux/io_uring.h>

int main(void) {
    begin();
    struct io_uring_params parameters = {0};
    int ring = must(syscall(SYS_io_uring_setup, 4, &parameters));
    size_t size = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned);
    must(mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING));
    note("descriptor %d\n", ring);
    ready();
    for (;;) {
        await_question();
        expect(syscall(SYS_io_uring_enter, ring, 0, 0, 0, 0, 0) == 0, "the ring cannot be entered");
        verdict();
    }
}
