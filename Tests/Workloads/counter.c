// The first thing to checkpoint: one thread, one number, one file.
#include "workload.h"

static long count;
static int file;

static void write_count(void) {
    char text[24];
    int length = snprintf(text, sizeof text, "%019ld\n", count);
    expect(pwrite(file, text, length, 0) == length, "cannot write the count");
}

int main(void) {
    begin();
    file = must(open("/state/counter", O_RDWR | O_CREAT, 0644));
    write_count();
    ready();
    for (long asked_at = -1;;) {
        sigset_t asked;
        sigemptyset(&asked);
        sigaddset(&asked, SIGUSR1);
        struct timespec tick = {0, 10000000};
        if (sigtimedwait(&asked, 0, &tick) == SIGUSR1) {
            questions++;
            compare_facts();
            char text[24] = "";
            expect(pread(file, text, 20, 0) == 20 && atol(text) == count, "the file says %s, memory %ld", text, count);
            asked_at = count;
            continue;
        }
        count++;
        write_count();
        if (asked_at < 0) continue;
        asked_at = -1;   // the answer waited for the next tick: so it shows that the count goes on
        verdict();
    }
}
