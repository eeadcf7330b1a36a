// A memory file of huge pages, of which there need be none.
// refused: mfd_hugetlb
#include "workload.h"

int main(void) {
    begin();
    int file = must(memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB));
    note("descriptor %d\n", file);
    ready();
    for (;;) {
        await_question();
        expect(!ftruncate(file, 0), "the file is gone");
        verdict();
    }
}
