// Both ends of a pseudo terminal, with a line in it.
// refused: terminal or tty or ptmx
#include "workload.h"

int main(void) {
    begin();
    int master = must(posix_openpt(O_RDWR | O_NOCTTY));
    must(grantpt(master));
    must(unlockpt(master));
    int slave = must(open(ptsname(master), O_RDWR | O_NOCTTY));
    note("descriptor %d\n", master);
    ready();
    for (;;) {
        await_question();
        char bytes[32];
        must(write(master, "a line\n", 7));
        expect(read(slave, bytes, 32) == 7, "the terminal does not pass on a line");
        expect(read(master, bytes, 32) == 8, "the terminal does not echo");
        verdict();
    }
}
