// An overlay that the program has mounted, of directories in its root and in a tmpfs of its own, with files of both, one of
// them open, and one that was copied up.
// capabilities: CAP_SYS_ADMIN CAP_DAC_OVERRIDE
// seccomp: none
#include "mounts.h"

static int file, upper;

int main(void) {
    begin();
    must(mkdir("/state/lower", 0755)), must(mkdir("/state/memory", 0755)), must(mkdir("/state/merged", 0755));
    put("/state/lower/one", "lower one"), put("/state/lower/two", "lower two");
    must(mount("t", "/state/memory", "tmpfs", 0, "size=4m"));
    must(mkdir("/state/memory/up per", 0755)), must(mkdir("/state/memory/work", 0755)), must(mkdir("/state/memory/more", 0755));
    put("/state/memory/more/three", "more three");
    // A user namespace can set no trusted attributes.
    const char *options = "lowerdir=/state/lower:/state/memory/more,upperdir=/state/memory/up per,workdir=/state/memory/work,userxattr";
    if (mount("o", "/state/merged", "overlay", MS_NODEV, options)) give_up("overlay", __LINE__);
    put("/state/merged/two", "upper two"), put("/state/merged/new", "upper new");
    file = must(open("/state/merged/three", O_RDONLY | O_CLOEXEC));
    upper = must(open("/state/merged/new", O_RDWR | O_CLOEXEC));
    ready();
    for (;;) {
        await_question();
        char bytes[16] = "";
        expect_text("/state/merged/one", "lower one"), expect_text("/state/merged/two", "upper two");
        expect_text("/state/lower/two", "lower two"), expect_text("/state/merged/new", "upper new");
        expect(pread(file, bytes, 10, 0) == 10 && !strcmp(bytes, "more three"), "the open file has `%s`", bytes);
        expect(pwrite(upper, "upper new", 9, 0) == 9, "the upper file: %s", strerror(errno));
        verdict();
    }
}
