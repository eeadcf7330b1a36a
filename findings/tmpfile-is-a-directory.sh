#!/usr/bin/env bash
# Linux 6.18: a file made with O_TMPFILE is a regular file whose open flags say O_DIRECTORY, for ever.
#
# Input: open(dir, O_TMPFILE|O_RDWR), then linkat to give it a name.
# Guessed: flags that only tell how to make the file are dropped from F_GETFL and fdinfo, as O_CREAT, O_EXCL and
# O_TRUNC are; what is left is O_RDWR (and O_LARGEFILE).
# Instead: O_DIRECTORY and the bit of its own that O_TMPFILE has stay set, also when the file has a name. To open the
# file by that name, or by /proc/self/fd, with the flags that F_GETFL gave is ENOTDIR, and so it is when only the bit
# of its own is taken away: O_DIRECTORY has to go too.
# Why it matters: a restore that opens files anew with the flags it found must take both bits away.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static void again(const char *what, const char *path, int flags) {
    int file = open(path, flags);
    printf("%s: %s\n", what, file < 0 ? strerrorname_np(errno) : "opened");
    if (file >= 0)
        close(file);
}
int main(int count, char **names) {
    int file = open(names[1], O_TMPFILE | O_RDWR, 0600), own = O_TMPFILE & ~O_DIRECTORY;
    char link[64], path[4096];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    snprintf(path, sizeof path, "%s/named", names[1]);
    if (count != 2 || file < 0 || linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) || fstat(file, &status))
        return 1;
    int flags = fcntl(file, F_GETFL);
    printf("regular: %d, O_DIRECTORY: %d, own bit: %d\n",
           S_ISREG(status.st_mode), !!(flags & O_DIRECTORY), !!(flags & own));
    again("by name, same flags", path, flags);
    again("by link, same flags", link, flags);
    again("without the own bit", link, flags & ~own);
    again("without both", link, flags & ~O_TMPFILE);
}
C
gcc -o "$dir/ask" "$dir/ask.c"
got=$("$dir/ask" "$dir")
seen='regular: 1, O_DIRECTORY: 1, own bit: 1
by name, same flags: ENOTDIR
by link, same flags: ENOTDIR
without the own bit: ENOTDIR
without both: opened'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: O_TMPFILE on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: F_GETFL keeps O_DIRECTORY for a regular file that O_TMPFILE made'
