// Makes cgroups in one another, deeper than a path may be long: nested_cgroups DIRECTORY DEPTH
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count != 3 || chdir(words[1])) return 2;
    for (int depth = atoi(words[2]); depth; depth--) {
        if (mkdir("nested", 0755) || chdir("nested")) return 1;
    }
    close(open("/state/ready", O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
    for (;;) pause();
}
