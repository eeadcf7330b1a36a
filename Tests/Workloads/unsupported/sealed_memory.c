// Memory that nobody can unmap or protect anew (mseal).
// refused: sealed
// needs kernel: 6.10
// seccomp: none
#include "workload.h"

int main(void) {
    begin();
    char *memory = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    must(syscall(462, memory, PAGE, 0));   // mseal
    note("descriptor none\n");
    ready();
    for (;;) {
        await_question();
        expect(mprotect(memory, PAGE, PROT_READ) && errno == EPERM, "it is sealed no more");
        verdict();
    }
}
