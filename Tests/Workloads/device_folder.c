// Files that the program has made in /dev, which is a tmpfs of the container: one open, a directory it works in, links.
#include "workload.h"

int main(void) {
    begin();
    struct stat then, is;
    must(mkdir("/dev/inner", 0751));
    int file = must(open("/dev/inner/file", O_RDWR | O_CREAT | O_CLOEXEC, 0640));
    must(write(file, "in /dev", 7));
    must(symlink("/dev/null", "/dev/nothing"));
    must(unlink("/dev/core") && errno != ENOENT ? -1 : 0);
    must(chdir("/dev/inner"));
    must(stat("/dev/null", &then));
    int null = must(open("/dev/null", O_RDWR | O_CLOEXEC));
    ready();
    for (;;) {
        await_question();
        char bytes[16] = "";
        int again = open("file", O_RDONLY | O_CLOEXEC);
        expect(read(again, bytes, 16) == 7 && !memcmp(bytes, "in /dev", 7), "the file has %.16s", bytes);
        close(again);
        expect(!stat("/dev/inner", &is) && is.st_mode == (S_IFDIR | 0751), "the directory has mode %o", is.st_mode);
        expect(readlink("/dev/nothing", bytes, 16) == 9, "the link is gone");
        expect(lstat("/dev/core", &is), "what was removed is there again");
        expect(!stat("/dev/null", &is) && is.st_mode == then.st_mode && is.st_rdev == then.st_rdev, "/dev/null has mode %o", is.st_mode);
        struct stat open_one;
        expect(!fstat(null, &open_one) && open_one.st_ino == is.st_ino, "/dev/null is another file");
        expect(!stat("/dev/pts/ptmx", &is) && !stat("/dev/shm", &is), "a mount is gone");
        verdict();
    }
}
