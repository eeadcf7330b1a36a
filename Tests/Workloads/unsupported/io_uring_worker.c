// An io_uring whose request a thread of the kernel's works at (iou-wrk-N), asleep in the open(2) of a FIFO. A checkpoint that
// interrupted it would end the request.
// refused: request(s)
// seccomp: none
#include "../ring.h"

int main(void) {
    compared &= ~THREADS;
    begin();
    struct ring ring = {0};
    must(mkfifo("/state/fifo", 0600));
    open_ring(&ring, 4, 0, 0, false);
    do_nothing(&ring, 3);
    note("descriptor %d\n", ring.file);
    for (bool isReady = false;; isReady = true) {
        prepare(&ring, IORING_OP_OPENAT, AT_FDCWD, "/state/fifo", 0, 5)->flags = IOSQE_ASYNC;   // O_RDONLY is 0
        must(enter(&ring, 1, 0));
        // When the worker has it open to read, it sleeps.
        if (isReady) verdict();
        else ready();
        await_question();
        expect(!completion(&ring), "the request has ended");
        int writer = -1;
        expect(within(5, (writer = open("/state/fifo", O_WRONLY | O_NONBLOCK)) >= 0), "nobody opens the FIFO");
        expect(enter(&ring, 0, 1) == 0, "the ring cannot be entered: %s", strerror(errno));
        struct io_uring_cqe *done = completion(&ring);
        expect(done && done->user_data == 5 && done->res >= 0, "the FIFO is not open: %d", done ? done->res : 0);
        if (done) {
            close(done->res);
            take(&ring);
        }
        close(writer);
    }
}
