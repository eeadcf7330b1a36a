// Memory: what is written stays, what was never touched stays a hole, what is shared stays shared.
#include "workload.h"

static unsigned char *private, *written_zeros, *file_private, *file_shared, *hidden, *constant, *large, *heap, *locked;
static unsigned char *sparse, *guarded, *locked_on_fault;
static atomic_int *shared;
static unsigned long large_digest;
static int file;
static struct seat *child;

enum { PAGES = 64, LARGE = 64 << 20 };

static unsigned char pattern(size_t i) { return i * 7 + i / PAGE * 31 + 3; }

static void fill(unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) bytes[i] = pattern(i);
}

static bool filled(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) if (bytes[i] != pattern(i)) return false;
    return true;
}

static bool zero(const unsigned char *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) if (bytes[i]) return false;
    return true;
}

/// A mapping with a page of PROT_NONE on either side, so that it stays one line of /proc/self/smaps.
static void *map(size_t size, int protection, int flags, int fd) {
    char *room = must(mmap(0, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return must(mmap(room + PAGE, size, protection, flags | MAP_FIXED, fd, 0));
}

/// A number in /proc/self/smaps for the mapping at an address, in KiB.
static long usage(const void *mapping, const char *name) {
    static char text[128 << 10];
    char start[24];
    size_t used = 0;
    int smaps = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    for (ssize_t n; (n = read(smaps, text + used, sizeof text - 1 - used)) > 0;) used += n;
    close(smaps);
    text[used] = 0;
    snprintf(start, sizeof start, "\n%lx-", (unsigned long)mapping);
    char *at = strstr(text, start);
    at = at ? strstr(at, name) : 0;
    return at ? atol(at + strlen(name)) : -1;
}

static int resident_pages(const void *mapping, size_t pages) {
    static unsigned char residency[8192];
    int count = 0;
    if (mincore((void *)mapping, pages * PAGE, residency)) return -1;
    for (size_t i = 0; i < pages; i++) count += residency[i] & 1;
    return count;
}

/// The stack: every frame keeps a page of pattern while the deepest one answers questions.
struct frame { struct frame *outer; unsigned char bytes[PAGE]; };

static void check_frames(const struct frame *frame) {
    for (int depth = 0; frame; frame = frame->outer, depth++)
        if (!filled(frame->bytes, 0, PAGE)) { expect(false, "stack frame %d is damaged", depth); return; }
}

static __attribute__((noinline)) void deeper(int depth) {
    volatile unsigned char more[PAGE];
    more[0] = more[PAGE - 1] = depth;
    if (depth) deeper(depth - 1);
    expect(more[0] == (unsigned char)depth, "the grown stack does not hold what is written");
}

static void check_private(void) {
    expect(usage(private, "\nRss:") == PAGES / 2 * 4, "holes are no holes: %ld KiB resident", usage(private, "\nRss:"));
    for (size_t page = 0; page < PAGES; page++) {
        bool touched = page % 2 == 0;
        bool same = touched ? filled(private, page * PAGE, (page + 1) * PAGE) : true;
        expect(same, "private page %zu is damaged", page);
    }
    expect(zero(written_zeros, 0, 4 * PAGE), "zeros are no zeros");
    expect(!memcmp(hidden, "under a cover", 13), "PROT_NONE memory lost its bytes");
    expect(filled(constant, 0, PAGE), "read-only memory is damaged");
    expect(digest(large, LARGE) == large_digest, "64 MiB do not have their digest");
    expect(filled(heap, 0, 1 << 20), "the heap is damaged");
    expect(filled(locked, 0, PAGE), "locked memory is damaged");
    expect(usage(locked_on_fault, "\nRss:") == 4, "%ld KiB of what is locked on fault are there", usage(locked_on_fault, "\nRss:"));
    expect(my_seat || usage(locked_on_fault, "\nLocked:") > 0, "what was locked on fault is not locked");
    expect(filled(guarded, PAGE * 4, PAGE * 8), "the mapping that grows down is damaged");
}

static void check_files(void) {
    unsigned char byte = 0x80 + questions % 2;
    expect(usage(file_private, "\nAnonymous:") == 8, "%ld KiB of a file mapping were copied, not 8", usage(file_private, "\nAnonymous:"));
    for (size_t page = 0; page < 16; page++) {
        if (page == 9) continue;
        bool copied = page == 3 || page == 7;
        bool same = copied ? zero(file_private, page * PAGE, (page + 1) * PAGE) : filled(file_private, page * PAGE, (page + 1) * PAGE);
        expect(same, "page %zu of a private file mapping is damaged", page);
    }
    expect(pwrite(file, &byte, 1, 9 * PAGE) == 1 && file_private[9 * PAGE] == byte, "the private mapping left its file");
    expect(file_shared[9 * PAGE] == byte, "the shared mapping does not see a write to its file");
    file_shared[10 * PAGE + 1] = byte;
    expect(pread(file, &byte, 1, 10 * PAGE + 1) == 1 && byte == file_shared[10 * PAGE + 1], "the file does not see a write to its mapping");
    file_shared[10 * PAGE + 1] = pattern(10 * PAGE + 1);
}

static void check_sharing(void) {
    expect(resident_pages(sparse, 4096) == 3, "%d pages of sparse shared memory are there, not 3", resident_pages(sparse, 4096));
    expect(filled(sparse, 0, PAGE) && filled(sparse, 1000 * PAGE, 1002 * PAGE), "sparse shared memory is damaged");
    atomic_fetch_add(shared, 1);
    kill(child->pid, SIGUSR2);
    expect(within(5, atomic_load(&shared[1]) == atomic_load(shared)), "the child does not see what its parent writes");
}

static void answer_parent(int signal) {
    (void)signal;
    atomic_store(&shared[1], atomic_load(shared));
}

static void become_child(void) { signal(SIGUSR2, answer_parent); }
static void check_child(void) { check_private(); }

static void check_code(void *code, int value) {
    int (*function)(void) = (int (*)(void))code;
    expect(function() == value, "code returns another value");
}

static void serve(int depth, struct frame *outer, void *code) {
    struct frame frame = {.outer = outer};
    fill(frame.bytes, 0, PAGE);
    if (depth) {
        serve(depth - 1, &frame, code);
        __asm__ volatile("" : : "r"(&frame) : "memory");
        return;
    }
    ready();
    while (questions >= 0) {
        await_question();
        expect(!mprotect(hidden, PAGE, PROT_READ), "mprotect");
        check_private();
        expect(!mprotect(hidden, PAGE, PROT_NONE), "mprotect");
        check_files();
        check_sharing();
        check_code(code, 0x1234567);
        check_frames(&frame);
        deeper(64 + questions * 16);
        expect(sbrk(0) == heap + (1 << 20), "the heap ends elsewhere");
        expect(sbrk(PAGE) == heap + (1 << 20) && zero(heap + (1 << 20), 0, PAGE), "the heap does not grow");
        expect(sbrk(-(long)PAGE) != (void *)-1, "the heap does not shrink");
        verdict();
    }
}

int main(void) {
    begin();
    private = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    must(madvise(private, PAGES * PAGE, MADV_NOHUGEPAGE));
    for (size_t page = 0; page < PAGES; page += 2) fill(private, page * PAGE, (page + 1) * PAGE);
    written_zeros = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memset(written_zeros, 0, 4 * PAGE);
    if (!zero(written_zeros, 4 * PAGE, 8 * PAGE)) return 1;   // read, never written: the kernel's zero page

    file = must(open("/state/mapped", O_RDWR | O_CREAT, 0644));
    static unsigned char content[16 * PAGE];
    fill(content, 0, sizeof content);
    must(pwrite(file, content, sizeof content, 0));
    file_private = map(sizeof content, PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
    memset(file_private + 3 * PAGE, 0, PAGE);
    memset(file_private + 7 * PAGE, 0, PAGE);
    file_shared = map(sizeof content, PROT_READ | PROT_WRITE, MAP_SHARED, file);

    hidden = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    strcpy((char *)hidden, "under a cover");
    constant = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill(constant, 0, PAGE);
    must(mprotect(constant, PAGE, PROT_READ));
    locked = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill(locked, 0, PAGE);
    must(mlock(locked, PAGE));
    locked_on_fault = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    must(mlock2(locked_on_fault, 4 * PAGE, MLOCK_ONFAULT));
    fill(locked_on_fault, 0, PAGE);
    guarded = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1);
    fill(guarded, 4 * PAGE, 8 * PAGE);

    void *code = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memcpy(code, "\xb8\x67\x45\x23\x01\xc3", 6);   // mov $0x1234567, %eax; ret
    must(mprotect(code, PAGE, PROT_READ | PROT_EXEC));

    large = map(LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    uint64_t random = 88172645463325252ULL;
    for (size_t i = 0; i < LARGE / 8; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        ((uint64_t *)large)[i] = random;
    }
    large_digest = digest(large, LARGE);

    sparse = map(4096 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    fill(sparse, 0, PAGE);
    fill(sparse, 1000 * PAGE, 1002 * PAGE);
    shared = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    heap = must(sbrk(1 << 20));
    fill(heap, 0, 1 << 20);
    must(mprotect(hidden, PAGE, PROT_READ));
    child = hire(become_child, check_child);
    must(mprotect(hidden, PAGE, PROT_NONE));
    note("flip %p\n", (void *)(large + 12345));
    serve(256, 0, code);
    return 0;
}
