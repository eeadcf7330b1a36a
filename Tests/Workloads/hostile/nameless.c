// Holds a file without a name in a folder of the host's. With rights that the program could not give it, it must not get a
// name there; without them it may.
#include "workload.h"

int main(void) {
    begin();
    int file = must(open("/host", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    must(write(file, "content", 7));
    compared &= ~DESCRIPTORS;   // its number is in what /proc calls it
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    ready();
    for (;;) {
        await_question();
        struct stat is;
        must(fstat(file, &is));
        int linked = linkat(AT_FDCWD, path, AT_FDCWD, "/host/name", AT_SYMLINK_FOLLOW);
        bool is_special = is.st_mode & (S_ISUID | S_ISGID);
        expect(is_special ? linked < 0 && errno == ENOENT : !linked, "mode %o: %s", is.st_mode, linked ? strerror(errno) : "has a name");
        if (!linked) unlink("/host/name");
        verdict();
    }
}
