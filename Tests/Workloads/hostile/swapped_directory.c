// Makes two entries of a volume take each other's name, over and over: swapped_directory ONE OTHER
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>

int main(int count, char **names) {
    if (count != 3) return 2;
    for (;;) {
        if (renameat2(AT_FDCWD, names[1], AT_FDCWD, names[2], RENAME_EXCHANGE)) return 1;
    }
}
