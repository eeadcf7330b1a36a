#include "CLinux.h"

// Only C can promise what this needs: that between the copying of a page and its replacement nothing is written to it.
int clinux_remap_executable(int file, int pagemap) {
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    size_t count = getauxval(AT_PHNUM);
    const unsigned long page = 4096;
    // In a static program that is not position-independent addresses are those of the file, and the kernel alone has mapped it.
    for (size_t i = 0; i < count; i++)
        if (headers[i].p_type == PT_INTERP || headers[i].p_type == PT_DYNAMIC) return errno = ENOTSUP, -1;

    for (size_t i = 0; i < count; i++) {
        const ElfW(Phdr) *h = &headers[i];
        if (h->p_type != PT_LOAD || h->p_filesz == 0) continue;
        unsigned long start = h->p_vaddr & -page, end = (h->p_vaddr + h->p_filesz + page - 1) & -page;
        unsigned long offset = h->p_offset & -page, length = end - start;
        int protection = (h->p_flags & PF_R ? PROT_READ : 0) | (h->p_flags & PF_W ? PROT_WRITE : 0) |
                         (h->p_flags & PF_X ? PROT_EXEC : 0);
        if (!(h->p_flags & PF_W)) {
            if (mmap((void *)start, length, protection, MAP_PRIVATE | MAP_FIXED, file, offset) == MAP_FAILED) return -1;
            continue;
        }
        char *copy = mmap(NULL, length, protection, MAP_PRIVATE, file, offset);
        if (copy == MAP_FAILED) return -1;
        struct clinux_page_region regions[512];
        struct clinux_pm_scan_arg scan = {
            .size = sizeof scan, .start = start, .end = end, .vec = (unsigned long)regions, .vec_len = 512,
            .category_inverted = CLINUX_PAGE_IS_FILE, .category_mask = CLINUX_PAGE_IS_FILE,
            .category_anyof_mask = CLINUX_PAGE_IS_PRESENT | CLINUX_PAGE_IS_SWAPPED,
        };
        long found = ioctl(pagemap, CLINUX_PAGEMAP_SCAN, &scan);
        if (found < 0) return -1;
        if (scan.walk_end != end) return errno = E2BIG, -1;
        for (long r = 0; r < found; r++)
            memcpy(copy + (regions[r].start - start), (void *)regions[r].start, regions[r].end - regions[r].start);
        // MREMAP_MAYMOVE | MREMAP_FIXED
        if (syscall(SYS_mremap, copy, length, length, 3, start) != (long)start) return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const ElfW(Phdr) *h = &headers[i];
        if (h->p_type != PT_GNU_RELRO) continue;
        unsigned long start = h->p_vaddr & -page, end = (h->p_vaddr + h->p_memsz) & -page;
        if (end > start && mprotect((void *)start, end - start, PROT_READ) != 0) return -1;
    }
    return 0;
}

__attribute__((section(".stasis.commit"))) const char clinux_commit[48] = "unreleased";
