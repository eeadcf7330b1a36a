// The namespaces of the container by descriptor (/proc/self/ns/*): each is the process's own, now and later.
#include "workload.h"

static const char *const names[] = {"net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time"};
static int files[COUNT(names)];

static void check(void) {
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[60];
        struct stat held, own;
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        must(fstat(files[i], &held));
        must(stat(path, &own));
        expect(held.st_ino == own.st_ino && held.st_dev == own.st_dev, "%s: another namespace", names[i]);
        expect(fcntl(files[i], F_GETFL) == 0100000, "%s: flags %o", names[i], fcntl(files[i], F_GETFL));
    }
}

int main(void) {
    begin();
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[60];
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        files[i] = must(open(path, O_RDONLY | (i % 2 ? O_CLOEXEC : 0)));
    }
    hire(0, check);
    serve_checks(check);
}
