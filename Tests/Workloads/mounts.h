// For programs that change their mounts, and look at what lies there.
#pragma once
#include "workload.h"
#include <sys/mount.h>

static void put(const char *path, const char *text) {
    int made = must(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    must(write(made, text, strlen(text)));
    close(made);
}

static __attribute__((unused)) void expect_text(const char *path, const char *text) {
    char bytes[40] = "";
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    if (opened < 0) return expect(false, "%s: %s", path, strerror(errno));
    expect(read(opened, bytes, sizeof bytes - 1) >= 0 && !strcmp(bytes, text), "%s has `%s`", path, bytes);
    close(opened);
}

/// Whether nothing can be written there, for this reason.
static __attribute__((unused)) void expect_refusal(const char *path, int error) {
    int opened = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    expect(opened < 0 && errno == error, "%s: %s", path, opened < 0 ? strerror(errno) : "can be written to");
    close(opened);
}
