// A file that was made without a name (O_TMPFILE) and got one by linkat(2): its open file keeps the bits of that flag, with
// O_DIRECTORY among them, and is no directory.
#include "workload.h"

int main(void) {
    begin();
    compared &= ~DESCRIPTORS;   // nobody can open a file with those bits again
    int file = must(open("/state", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640));
    must(write(file, "content", 7));
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    must(linkat(AT_FDCWD, link, AT_FDCWD, "/state/linked", AT_SYMLINK_FOLLOW));
    ready();
    for (;;) {
        await_question();
        char bytes[8] = "";
        expect(lseek(file, 0, SEEK_CUR) == 7, "the offset is %ld", (long)lseek(file, 0, SEEK_CUR));
        expect(pread(file, bytes, 7, 0) == 7 && !strcmp(bytes, "content"), "reads '%s'", bytes);
        expect(pwrite(file, "content", 7, 0) == 7, "cannot be written: %s", strerror(errno));
        expect(fcntl(file, F_GETFD) == FD_CLOEXEC, "is not closed on exec");
        verdict();
    }
}
