// An io_uring that has no descriptor any more: its thread knows it by a number of its own.
// refused: ioring_register_ring_fds
// seccomp: none
#include "../ring.h"

int main(void) {
    begin();
    struct ring ring = {0};
    open_ring(&ring, 4, 0, 0, false);
    do_nothing(&ring, 3);
    must(munmap(ring.base, PAGE));
    must(munmap(ring.entries, PAGE));
    struct io_uring_rsrc_update which = {.offset = -1U, .data = ring.file};
    must(syscall(SYS_io_uring_register, ring.file, 20, &which, 1));   // IORING_REGISTER_RING_FDS
    close(ring.file);
    note("task %d\n", getpid());
    ready();
    for (;;) {
        await_question();
        int result = syscall(SYS_io_uring_enter, which.offset, 0, 0, 1 << 4, 0, 0);   // IORING_ENTER_REGISTERED_RING
        expect(result == 0, "the ring cannot be entered: %s", strerror(errno));
        verdict();
    }
}
