// A pseudoterminal with output that nobody has read yet: it cannot be looked at without being taken.
// refused: waits to be read
#include "workload.h"

int main(void) {
    begin();
    int outer = must(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(grantpt(outer));
    must(unlockpt(outer));
    int inner = must(open(ptsname(outer), O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(write(inner, "output", 6));
    note("descriptor %d\n", outer);
    ready();
    for (;;) {
        await_question();
        char bytes[32];
        expect(read(outer, bytes, 32) == 6 && !memcmp(bytes, "output", 6), "the output is gone");
        must(write(inner, "output", 6));
        verdict();
    }
}
