// A FIFO with content that was written by somebody else, and a watch on a file: what a restore may only put back with the
// rights of the process.
#include "../workload.h"
#include <sys/inotify.h>

int main(void) {
    begin();
    must(mkfifo("/state/fifo", 0600));
    int reader = must(open("/state/fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC)), writer = must(open("/state/fifo", O_WRONLY | O_CLOEXEC));
    must(write(writer, "order", 5));
    close(writer);
    close(must(open("/state/secret", O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
    int watcher = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    must(inotify_add_watch(watcher, "/state/secret", IN_MODIFY));
    ready();
    for (;;) {
        await_question();
        char bytes[20];
        expect(read(reader, bytes, sizeof bytes) == 5 && !memcmp(bytes, "order", 5), "the content of the FIFO is gone");
        verdict();
    }
}
