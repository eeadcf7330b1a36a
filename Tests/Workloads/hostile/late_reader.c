// An inotify descriptor with an event that is read at the first question, not before.
#include "workload.h"
#include <sys/inotify.h>

static int watcher;

static void check(void) {
    char events[400];
    ssize_t count = read(watcher, events, sizeof events);
    if (questions == 1) expect(count > 0, "the event is gone");
    else expect(count < 0 && errno == EAGAIN, "%zd bytes of an event that was read before", count);
}

int main(void) {
    begin();
    watcher = must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    must(mkdir("/state/watched", 0755));
    must(inotify_add_watch(watcher, "/state/watched", IN_CREATE));
    must(mkdir("/state/watched/0", 0755));
    serve_checks(check);
}
