// An io_uring that is not enabled yet. Who looks at it must not give it restrictions: it could do nothing then.
// refused: r_disabled
// seccomp: none
#include "../ring.h"

int main(void) {
    begin();
    struct ring ring = {0};
    open_ring(&ring, 4, 0, IORING_SETUP_R_DISABLED, false);
    note("descriptor %d\n", ring.file);
    ready();
    for (;;) {
        await_question();
        int enabled = syscall(SYS_io_uring_register, ring.file, IORING_REGISTER_ENABLE_RINGS, 0, 0);
        expect(enabled == 0, "the ring cannot be enabled: %s", strerror(errno));
        do_nothing(&ring, 1);
        // There is no way back: the next question finds another one, of the same number.
        must(munmap(ring.base, PAGE));
        must(munmap(ring.entries, PAGE));
        must(close(ring.file));
        ring = (struct ring){0};
        open_ring(&ring, 4, 0, IORING_SETUP_R_DISABLED, false);
        verdict();
    }
}
