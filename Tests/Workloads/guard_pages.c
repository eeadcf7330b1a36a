// Guard pages (MADV_GUARD_INSTALL, Linux 6.13; in files and shared memory 6.15): nobody may touch them, and what lies
// between them stays.
#include "workload.h"

enum { INSTALL = 102, REMOVE = 103, PAGES = 16 };

static struct area {
    const char *name;
    unsigned char *bytes;
    bool has_guards;
    int protection;
} private, hidden, locked, file_private, file_shared, shared, droppable;

static int probe[2];
static struct seat *child;

static bool is_guard(size_t page) { return page == 3 || page == 4 || page == 9 || page == 15; }

static unsigned char pattern(size_t page) { return 0x41 + page; }

static bool can_be_touched(const unsigned char *at) {
    unsigned char byte;
    if (write(probe[1], at, 1) == 1) return read(probe[0], &byte, 1) == 1;
    return false;
}

/// A mapping with a page of PROT_NONE on either side, so that it stays one line of /proc/self/maps.
static unsigned char *map(int protection, int flags, int fd) {
    char *room = must(mmap(0, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return must(mmap(room + PAGE, PAGES * PAGE, protection, flags | MAP_FIXED, fd, 0));
}

static void make(struct area *area, const char *name, int flags, int fd) {
    *area = (struct area){name, map(PROT_READ | PROT_WRITE, flags, fd), true, PROT_READ | PROT_WRITE};
    for (size_t page = 0; page < PAGES; page += 2) area->bytes[page * PAGE] = pattern(page);
    for (size_t page = 0; page < PAGES; page++)
        if (is_guard(page) && madvise(area->bytes + page * PAGE, PAGE, INSTALL)) area->has_guards = false;
}

static void check(struct area *area) {
    if (area->protection != (PROT_READ | PROT_WRITE))
        expect(!mprotect(area->bytes, PAGES * PAGE, PROT_READ | PROT_WRITE), "%s: mprotect", area->name);
    for (size_t page = 0; page < PAGES; page++) {
        unsigned char *at = area->bytes + page * PAGE;
        if (area->has_guards && is_guard(page)) {
            expect(!can_be_touched(at), "%s: page %zu is no guard any more", area->name, page);
        } else {
            unsigned char kept = page % 2 ? 0 : pattern(page);
            bool may_be_empty = area == &droppable;
            expect(can_be_touched(at), "%s: page %zu cannot be touched", area->name, page);
            expect(*at == kept || (may_be_empty && !*at), "%s: page %zu has %d", area->name, page, *at);
        }
    }
    if (area->protection != (PROT_READ | PROT_WRITE))
        expect(!mprotect(area->bytes, PAGES * PAGE, area->protection), "%s: mprotect back", area->name);
}

static void check_all(void) {
    struct area *all[] = {&private, &hidden, &locked, &file_private, &file_shared, &shared, &droppable};
    for (size_t i = 0; i < COUNT(all); i++) if (all[i]->bytes) check(all[i]);
}

/// Droppable memory is wiped in a child, guards and all.
static void become_child(void) { droppable.has_guards = false; }

/// What was a guard becomes memory, and a guard again.
static void exchange(void) {
    if (!private.has_guards) return;
    unsigned char *at = private.bytes + 9 * PAGE;
    expect(!madvise(at, PAGE, REMOVE) && can_be_touched(at) && !*at, "a guard cannot be removed");
    *at = 1;
    expect(!madvise(at, PAGE, INSTALL) && !can_be_touched(at), "a guard cannot be installed");
}

int main(void) {
    begin();
    must(pipe(probe));
    int file = must(open("/state/mapped", O_RDWR | O_CREAT, 0644));
    must(ftruncate(file, PAGES * PAGE));
    make(&private, "private", MAP_PRIVATE | MAP_ANONYMOUS, -1);
    make(&hidden, "PROT_NONE", MAP_PRIVATE | MAP_ANONYMOUS, -1);
    must(mprotect(hidden.bytes, PAGES * PAGE, hidden.protection = PROT_NONE));
    make(&locked, "locked", MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (mlock(locked.bytes, PAGES * PAGE) && errno != ENOMEM) give_up("mlock", __LINE__);   // the guards stop it
    make(&file_private, "private file", MAP_PRIVATE, file);
    make(&file_shared, "shared file", MAP_SHARED, file);
    make(&shared, "shared", MAP_SHARED | MAP_ANONYMOUS, -1);
    void *may = mmap(0, PAGE, PROT_READ, 0x8 | MAP_ANONYMOUS, -1, 0);   // MAP_DROPPABLE, Linux 6.11
    if (may != MAP_FAILED) make(&droppable, "droppable", 0x8 | MAP_ANONYMOUS, -1);
    child = hire(become_child, check_all);
    ready();
    for (;;) {
        await_question();
        check_all();
        exchange();
        verdict();
    }
}
