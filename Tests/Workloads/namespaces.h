// For programs whose processes are in namespaces of their own.
#pragma once
#include "workload.h"

/// That of a process, as /proc/PID/ns names it: by its inode; 0 if there is none.
static ino_t namespace_of(pid_t process, const char *name) {
    char path[60];
    struct stat found;
    snprintf(path, sizeof path, "/proc/%d/ns/%s", process, name);
    return stat(path, &found) ? 0 : found.st_ino;
}

/// Joins that of another process.
static __attribute__((unused)) void join_namespace(pid_t process, const char *name) {
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", process, name);
    int place = must(open(path, O_RDONLY));
    must(setns(place, 0));
    close(place);
}
