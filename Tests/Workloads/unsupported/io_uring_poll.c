// An io_uring that waits for a pipe.
// refused: request(s)
// seccomp: none
#include "../ring.h"

int main(void) {
    begin();
    struct ring ring = {0};
    int pipes[2];
    char byte = 0;
    must(pipe(pipes));
    open_ring(&ring, 4, 0, 0, false);
    do_nothing(&ring, 3);
    prepare(&ring, IORING_OP_READ, pipes[0], &byte, 1, 5);
    must(enter(&ring, 1, 0));
    note("descriptor %d\n", ring.file);
    ready();
    for (;;) {
        await_question();
        must(write(pipes[1], "x", 1));
        expect(enter(&ring, 0, 1) == 0, "the ring cannot be entered");
        struct io_uring_cqe *done = completion(&ring);
        expect(done && done->user_data == 5 && done->res == 1 && byte == 'x', "the read is not done");
        if (done) take(&ring);
        prepare(&ring, IORING_OP_READ, pipes[0], &byte, 1, 5);
        must(enter(&ring, 1, 0));
        verdict();
    }
}
