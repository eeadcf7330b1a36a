// MAP_DROPPABLE memory (Linux 6.11) comes back as such, and empty: it holds the state of getrandom in the vdso, and two
// restores of one image must not draw the same numbers. What was drawn is in /state/drawn.
#include "workload.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/random.h>

enum { DROPPABLE = 0x8, PAGES = 4 };

static unsigned char *memory;
static unsigned long long started;

struct parameters { unsigned size_of_state, protection, flags, reserved[13]; };
typedef ssize_t (*getrandom_function)(void *, size_t, unsigned, void *, size_t);
static getrandom_function in_vdso;
static void *state;
static size_t size_of_state;

/// A symbol of the vdso, which begins with an ELF header.
static void *find(const char *name) {
    const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
    const Elf64_Ehdr *header = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM) continue;
        const Elf64_Sym *symbols = (const void *)(image + sections[i].sh_offset);
        const char *names = image + sections[sections[i].sh_link].sh_offset;
        for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; s++)
            if (!strcmp(names + symbols[s].st_name, name)) return (void *)(image + symbols[s].st_value);
    }
    return 0;
}

static void draw(const char *occasion) {
    unsigned long ours = 0, library = 0;
    char line[100];
    if (in_vdso) expect(in_vdso(&ours, sizeof ours, 0, state, size_of_state) == sizeof ours, "no random number");
    expect(getrandom(&library, sizeof library, 0) == sizeof library, "no random number from the library");
    snprintf(line, sizeof line, "%s %016lx %016lx\n", occasion, ours, library);
    append("/state/drawn", line);
}

/// Field 22 of /proc/self/stat: a restored process has started anew.
static unsigned long long start_time(void) {
    char text[1000];
    int file = must(open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    ssize_t size = must(read(file, text, sizeof text - 1));
    close(file);
    text[size] = 0;
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
    return field ? strtoull(field, 0, 10) : 0;
}

/// Its VmFlags must say `dp`.
static void check_mapping(const void *mapping) {
    static char text[256 << 10];
    char start[24];
    size_t used = 0;
    int smaps = must(open("/proc/self/smaps", O_RDONLY | O_CLOEXEC));
    for (ssize_t n; (n = read(smaps, text + used, sizeof text - 1 - used)) > 0;) used += n;
    close(smaps);
    text[used] = 0;
    snprintf(start, sizeof start, "\n%lx-", (unsigned long)mapping);
    char *at = strstr(text, start), *flags = at ? strstr(at, "VmFlags:") : 0, *end = flags ? strchr(flags, '\n') : 0;
    if (end) *end = 0;
    expect(end && strstr(flags, " dp"), "it is not droppable any more: %s", end ? flags : "no mapping");
}

static void check(void) {
    bool is_new = start_time() != started;
    check_mapping(memory);
    for (size_t page = 0; page < PAGES; page++) {
        unsigned char byte = memory[page * PAGE];
        // The kernel may take a page away, but gives none back.
        expect(!byte || (!is_new && byte == page + 1), "page %zu holds %d after a %s", page, byte, is_new ? "restore" : "checkpoint");
        memory[page * PAGE] = page + 1;
    }
    started = start_time();
}

int main(void) {
    begin();
    // With a page of PROT_NONE on either side, so that it stays one line of /proc/self/smaps.
    char *room = must(mmap(0, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memory = mmap(room + PAGE, PAGES * PAGE, PROT_READ | PROT_WRITE, DROPPABLE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (memory == MAP_FAILED) memory = 0;   // before Linux 6.11
    for (size_t page = 0; memory && page < PAGES; page++) memory[page * PAGE] = page + 1;
    in_vdso = (getrandom_function)find("__vdso_getrandom");
    if (in_vdso) {
        struct parameters parameters = {0};
        must(in_vdso(0, 0, 0, &parameters, ~0UL));
        size_of_state = parameters.size_of_state;
        state = must(mmap(0, PAGE, parameters.protection, parameters.flags, -1, 0));
    }
    note("generator %s\n", in_vdso ? "yes" : "no");
    started = start_time();
    draw("start");
    ready();
    for (;;) {
        await_question();
        if (memory) check();
        draw("question");
        verdict();
    }
}
