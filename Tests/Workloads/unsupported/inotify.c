// An inotify descriptor with a watch and an event in it.
// refused: inotify
#include "workload.h"
#include <sys/inotify.h>

int main(void) {
    begin();
    int watcher = must(inotify_init1(IN_NONBLOCK));
    must(mkdir("/state/watched", 0755));
    must(inotify_add_watch(watcher, "/state/watched", IN_CREATE));
    note("descriptor %d\n", watcher);
    ready();
    for (;;) {
        await_question();
        char path[40], events[400];
        snprintf(path, sizeof path, "/state/watched/%d", questions);
        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        expect(read(watcher, events, sizeof events) > 0, "the watch does not see a new file");
        verdict();
    }
}
