// Memory that nobody can unmap, move or protect anew (mseal), of every kind; and in a child, which inherits it.
// needs kernel: 6.10
// seccomp: none
#include "workload.h"

enum { MSEAL = 462, PAGES = 40 };
enum { WRITABLE, READABLE, HIDDEN, SHARED, FILE_PRIVATE, LOCKED, KINDS };
static struct { const char *name; unsigned char *bytes; int protection; } areas[KINDS] = {
    {"writable", 0, PROT_READ | PROT_WRITE}, {"readable", 0, PROT_READ},   {"hidden", 0, PROT_NONE},
    {"shared", 0, PROT_READ | PROT_WRITE},   {"of a file", 0, PROT_READ}, {"locked", 0, PROT_READ | PROT_WRITE},
};
static unsigned char *neighbour;

static void make(int kind, int flags, int file) {
    unsigned char *room = must(mmap(0, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    unsigned char *bytes = must(mmap(room + PAGE, PAGES * PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0));
    for (size_t page = 0; page < PAGES; page++) bytes[page * PAGE] = page + kind;
    if (kind == LOCKED) must(mlock(bytes, PAGES * PAGE));
    must(mprotect(bytes, PAGES * PAGE, areas[kind].protection));
    areas[kind].bytes = bytes;
}

/// The content, but of what is hidden; and that there is nothing to be done about the mapping.
static void check(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        unsigned char *bytes = areas[kind].bytes;
        const char *name = areas[kind].name;
        for (size_t page = 0; page < PAGES && kind != HIDDEN; page++)
            expect(bytes[page * PAGE] == (unsigned char)(page + kind), "%s: page %zu has %d", name, page, bytes[page * PAGE]);
        expect(mprotect(bytes, PAGE, PROT_READ | PROT_WRITE) && errno == EPERM, "%s: mprotect", name);
        expect(munmap(bytes + PAGE, PAGE) && errno == EPERM, "%s: munmap", name);
        expect(mremap(bytes, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM, "%s: mremap", name);
        expect(mmap(bytes, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EPERM,
               "%s: another mapping in its place", name);
    }
    bool forgets = !madvise(areas[READABLE].bytes, PAGE, MADV_DONTNEED);
    expect(!forgets && errno == EPERM, "what is readable can be emptied");
    unsigned char *written = areas[WRITABLE].bytes + PAGE;
    *written += 1;
    *written -= 1;
    // What is not sealed stays the program's own business.
    expect(neighbour[0] == 0x77, "the neighbour has %d", neighbour[0]);
    expect(!mprotect(neighbour, PAGE, PROT_READ) && !mprotect(neighbour, PAGE, PROT_READ | PROT_WRITE), "the neighbour");
}

static void check_child(void) {
    check();
    unsigned char *shared = areas[SHARED].bytes;
    shared[5] = 0x55;
}

int main(void) {
    begin();
    int file = must(open("/state/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    must(ftruncate(file, PAGES * PAGE));
    for (int kind = 0; kind < KINDS; kind++) {
        if (kind == SHARED) make(kind, MAP_SHARED | MAP_ANONYMOUS, -1);
        else if (kind == FILE_PRIVATE) make(kind, MAP_PRIVATE, file);
        else make(kind, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        must(syscall(MSEAL, areas[kind].bytes, PAGES * PAGE, 0));
    }
    neighbour = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    neighbour[0] = 0x77;
    hire(0, check_child);
    ready();
    for (;;) {
        await_question();
        check();
        areas[SHARED].bytes[5] = 0;
        verdict();
    }
}
