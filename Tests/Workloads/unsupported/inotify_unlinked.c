// A watch of a file that was unlinked, which somebody has open.
// refused: unlinked
#include "workload.h"
#include <sys/inotify.h>

int main(void) {
    begin();
    int watcher = must(inotify_init1(IN_NONBLOCK));
    int file = must(open("/state/watched", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    must(inotify_add_watch(watcher, "/state/watched", IN_MODIFY));
    must(unlink("/state/watched"));
    note("descriptor %d\n", watcher);
    ready();
    for (;;) {
        await_question();
        char events[400];
        must(write(file, "x", 1));
        expect(read(watcher, events, sizeof events) > 0, "the watch does not see a change");
        verdict();
    }
}
