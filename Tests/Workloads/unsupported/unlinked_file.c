// A file that has no name any more.
// refused: unlinked
#include "workload.h"

int main(void) {
    begin();
    int file = must(open("/state/short-lived", O_RDWR | O_CREAT, 0644));
    must(write(file, "still here", 10));
    must(unlink("/state/short-lived"));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        char bytes[16];
        expect(pread(file, bytes, 16, 0) == 10 && !memcmp(bytes, "still here", 10), "the file lost its content");
        verdict();
    }
}
