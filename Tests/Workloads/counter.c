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
            asked_at = count;
            continue;
        }
        count++;
        write_count();
        // The answer waits for the next tick, so it shows that the count goes on: and in the file that has the name.
        if (asked_at < 0) continue;
        char text[24] = "";
        int again = open("/state/counter", O_RDONLY | O_CLOEXEC);
        expect(pread(again, text, 19, 0) == 19 && atol(text) == count, "the file says %s, memory %ld", text, count);
        close(again);
        expect(count == asked_at + 1, "the count went from %ld to %ld", asked_at, count);
        asked_at = -1;
        verdict();
    }
}
