// A segment of the program's own, in its local descriptor table.
// refused: descriptor
#include "workload.h"
#include <asm/ldt.h>

static struct user_desc segment = {.entry_number = 3, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};

static void check(void) {
    unsigned short selector = 3 << 3 | 7;
    unsigned int limit = 0;
    unsigned char found;
    __asm__ volatile("lsl %2, %0; setz %1" : "+r"(limit), "=q"(found) : "r"((unsigned int)selector) : "cc");
    expect(found, "the segment is gone");
}

int main(void) {
    begin();
    must(syscall(SYS_modify_ldt, 1, &segment, sizeof segment));
    check();
    if (my_faults[0]) give_up("a segment", __LINE__);
    note("task %d\n", getpid());
    serve_checks(check);
}
