// An io_uring that tells an eventfd of its completions.
// refused: eventfd
// seccomp: none
#include "../ring.h"
#include <sys/eventfd.h>

int main(void) {
    begin();
    struct ring ring = {0};
    int counter = must(eventfd(0, EFD_CLOEXEC));
    open_ring(&ring, 4, 0, 0, false);
    must(syscall(SYS_io_uring_register, ring.file, IORING_REGISTER_EVENTFD, &counter, 1));
    note("descriptor %d\n", ring.file);
    ready();
    for (;;) {
        await_question();
        do_nothing(&ring, 1);
        uint64_t count = 0;
        expect(read(counter, &count, sizeof count) == sizeof count && count == 1, "%ld completions", (long)count);
        verdict();
    }
}
