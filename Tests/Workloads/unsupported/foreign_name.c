// An open file whose name is in no encoding that an image can hold.
// refused: utf-8
#include "workload.h"

int main(void) {
    begin();
    int file = must(open("/state/caf\xe9", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        expect(write(file, "x", 1) == 1, "it cannot be written: %s", strerror(errno));
        verdict();
    }
}
