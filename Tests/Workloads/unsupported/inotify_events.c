// An inotify descriptor with an event that nobody has read.
// refused: inotify
#include "workload.h"
#include <sys/inotify.h>

int main(void) {
    begin();
    int watcher = must(inotify_init1(IN_NONBLOCK));
    must(mkdir("/state/watched", 0755));
    must(inotify_add_watch(watcher, "/state/watched", IN_CREATE));
    must(mkdir("/state/watched/0", 0755));
    note("descriptor %d\n", watcher);
    ready();
    for (;;) {
        await_question();
        char path[40], events[400];
        expect(read(watcher, events, sizeof events) > 0, "the watch does not see a new file");
        snprintf(path, sizeof path, "/state/watched/%d", questions);
        must(mkdir(path, 0755));
        verdict();
    }
}
