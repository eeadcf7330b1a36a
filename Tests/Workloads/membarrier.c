// What a process has registered for with membarrier(2): without it the barriers of user-space RCU fail with EPERM. And a name
// with line ends in it, and a standard stream that does not wait.
#include "workload.h"
#include <linux/membarrier.h>

static const struct { int registration, barrier; } kinds[] = {
    {MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED},
    {MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE},
    {MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_GLOBAL_EXPEDITED},
};

static void *other_thread(void *unused) {
    for (;;) pause_ms(100);
    return unused;
}

int main(void) {
    begin();
    compared &= ~(STATUS | THREADS);   // they take the name for a line
    must(prctl(PR_SET_NAME, "two\nlines\n"));
    must(fcntl(0, F_SETFL, must(fcntl(0, F_GETFL)) | O_NONBLOCK));
    for (size_t i = 0; i < COUNT(kinds); i++) must(syscall(SYS_membarrier, kinds[i].registration, 0, 0));
    start_thread(other_thread, 0);
    ready();
    for (;;) {
        await_question();
        for (size_t i = 0; i < COUNT(kinds); i++)
            expect(!syscall(SYS_membarrier, kinds[i].barrier, 0, 0), "barrier %zu: %s", i, strerror(errno));
        char name[16] = "";
        prctl(PR_GET_NAME, name);
        expect(!strcmp(name, "two\nlines\n"), "the name has %zu bytes", strlen(name));
        expect(fcntl(0, F_GETFL) & O_NONBLOCK, "standard input waits");
        verdict();
    }
}
