// A sealed memory file.
// refused: memfd
#include "workload.h"

int main(void) {
    begin();
    int file = must(memfd_create("in memory", MFD_ALLOW_SEALING));
    must(write(file, "content", 7));
    must(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        char bytes[16];
        expect(pread(file, bytes, 16, 0) == 7 && !memcmp(bytes, "content", 7), "the file lost its content");
        expect(fcntl(file, F_GET_SEALS) == F_SEAL_SHRINK, "the seals are %x", fcntl(file, F_GET_SEALS));
        verdict();
    }
}
