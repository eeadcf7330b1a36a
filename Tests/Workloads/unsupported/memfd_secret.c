// Secret memory that is not mapped.
// refused: memfd_secret
// needs kernel: 6.5
#include "workload.h"

int main(void) {
    begin();
    int file = must((int)syscall(SYS_memfd_secret, O_CLOEXEC));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        expect(!ftruncate(file, questions == 1 ? PAGE : 0) || errno == EINVAL, "the memory is gone");
        verdict();
    }
}
