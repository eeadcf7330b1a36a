// A lease on a file, whose holder is told when somebody else opens it.
// refused: lease
#include "workload.h"

int main(void) {
    begin();
    int file = must(open("/state/leased", O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    must(fcntl(file, F_SETLEASE, F_WRLCK));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        expect(fcntl(file, F_GETLEASE) == F_WRLCK, "the lease is gone");
        verdict();
    }
}
