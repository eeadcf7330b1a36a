// inotify: watches of files and directories, of the root file system and of a tmpfs; their numbers with gaps, masks and
// flags; a watch for one event; an instance of two processes, and one that is read without waiting. Nothing is told that has
// not happened.
// tmpfs: /memory
#include "workload.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>

static int patient, watcher, empty;
static int folder, file, scratch, gone, names, once, self_file;
/// Of an overlay, where the test has mounted one: a directory of the lower layer and a file in it.
static int layered, layered_file;

static int add(const char *path, uint32_t mask) { return must(inotify_add_watch(watcher, path, mask)); }

static void touch(const char *path) { close(must(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644))); }

/// The next event must be this one.
static void expect_event(int watch, uint32_t mask, const char *name) {
    char bytes[400];
    // One at a time: with room for one event and its name only.
    ssize_t n = read(watcher, bytes, sizeof(struct inotify_event) + (*name ? 16 : 0));
    struct inotify_event *event = (void *)bytes;
    if (n <= 0) return expect(false, "no event %x of watch %d: %s", mask, watch, strerror(errno));
    expect(event->wd == watch && event->mask == mask, "watch %d, event %x instead of %d, %x", event->wd, event->mask, watch, mask);
    expect(!strcmp(event->len ? event->name : "", name), "the name is '%s'", event->len ? event->name : "");
}

static void expect_none(int instance, const char *when) {
    int waiting = -1;
    must(ioctl(instance, FIONREAD, &waiting));
    expect(!waiting, "%s: %d bytes of events that nothing caused", when, waiting);
}

static void check_other(void) { expect_none(watcher, "in the other process"); }

static void trigger_layered(void) {
    if (!layered) return;
    must(mkdir("/state/layered/watched/new", 0755));
    expect_event(layered, IN_CREATE | IN_ISDIR, "new");
    must(rmdir("/state/layered/watched/new"));
    expect_event(layered, IN_DELETE | IN_ISDIR, "new");
    char byte;
    int end = must(open("/state/layered/watched/deep/file", O_RDONLY | O_CLOEXEC));
    must(read(end, &byte, 1));
    close(end);
    expect_event(layered_file, IN_ACCESS, "");
}

static void trigger(void) {
    char path[60];
    snprintf(path, sizeof path, "/state/watched/%d", questions);
    touch(path);
    snprintf(path, sizeof path, "%d", questions);
    expect_event(folder, IN_CREATE, path);
    expect_event(folder, IN_OPEN, path);
    int end = must(open("/state/file", O_WRONLY | O_CLOEXEC));
    must(write(end, "x", 1));
    expect_event(file, IN_MODIFY, "");
    close(end);
    touch("/memory/inner/new");
    expect_event(scratch, IN_CREATE, "new");
    expect_event(scratch, IN_CLOSE_WRITE, "new");
    must(unlink("/memory/inner/new"));
    expect_event(scratch, IN_DELETE, "new");
    must(chmod("/state", 0777));
    expect_event(names, IN_ATTRIB | IN_ISDIR, "");
    must(chmod("/state/self", 0600));
    expect_event(names, IN_ATTRIB, "self");
    expect_event(self_file, IN_ATTRIB, "");
}

int main(void) {
    begin();
    watcher = must(inotify_init1(IN_NONBLOCK));
    patient = must(inotify_init1(IN_CLOEXEC));
    empty = must(inotify_init1(0));
    must(mkdir("/state/watched", 0755));
    must(mkdir("/state/once", 0755));
    must(mkdir("/memory/inner", 0755));
    touch("/state/file");
    touch("/state/self");
    folder = add("/state/watched", IN_CREATE | IN_OPEN);
    gone = add("/state/once", IN_CREATE);
    file = add("/state/file", IN_MODIFY);
    // The engine reads this one: who asks for IN_OPEN is told.
    scratch = add("/memory/inner", IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_EXCL_UNLINK);
    must(inotify_rm_watch(watcher, gone));
    gone = add("/state/once", IN_DELETE_SELF);
    names = add("/state", IN_ATTRIB);
    once = add("/memory", IN_ATTRIB | IN_ONESHOT);
    self_file = add("/state/self", IN_ATTRIB);
    if (!access("/state/layered/watched", F_OK)) {
        layered = add("/state/layered/watched", IN_CREATE | IN_DELETE);
        compared &= ~MOUNTS;   // overlay shows another option at its second mount
        layered_file = add("/state/layered/watched/deep/file", IN_ACCESS);
    }
    must(inotify_add_watch(patient, "/state/watched", IN_MODIFY));
    char bytes[400];
    must(read(watcher, bytes, sizeof bytes));   // IN_IGNORED
    hire(0, check_other);
    ready();
    for (;;) {
        await_question();
        expect_none(watcher, "at first");
        expect_none(patient, "at first");
        expect_none(empty, "at first");
        expect(fcntl(watcher, F_GETFL) & O_NONBLOCK && !(fcntl(patient, F_GETFL) & O_NONBLOCK), "flags");
        trigger();
        trigger_layered();
        expect_none(watcher, "at the end");
        // The same file has the same number; another one has a new one.
        expect(inotify_add_watch(watcher, "/state/watched", IN_CREATE | IN_OPEN) == folder, "the number of a watch");
        int new = add("/state/once", IN_DELETE_SELF);
        expect(new == gone, "the number after a gap");
        if (questions == 3) {
            must(chmod("/memory", 0777));
            expect_event(once, IN_ATTRIB | IN_ISDIR, "");
            expect_event(once, IN_IGNORED, "");
            int fresh = add("/memory", IN_ATTRIB);
            expect(fresh > self_file && fresh > layered_file, "a number that another watch has: %d", fresh);
            must(inotify_rm_watch(watcher, fresh));
            expect_event(fresh, IN_IGNORED, "");
        }
        verdict();
    }
}
