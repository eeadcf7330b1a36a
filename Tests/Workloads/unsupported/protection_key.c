// Memory with a protection key of its own.
// refused: pkey_mprotect
// needs processor: ospke
#include "workload.h"

int main(void) {
    begin();
    char *memory = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    int key = must(pkey_alloc(0, 0));
    must(pkey_mprotect(memory, PAGE, PROT_READ | PROT_WRITE, key));
    note("descriptor none\n");
    ready();
    for (;;) {
        await_question();
        memory[0]++;
        verdict();
    }
}
