// Mounts that share what is mounted on them: peers (of a whole, of parts), slaves, a slave that has peers of its own, a slave
// of that, a private one and one that nobody may bind; mounts that have come from peers; peers of which none shows what all show;
// mounts of config.json that became shared. Who is in a group with whom stays, and what is mounted on one appears at the others.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "mounts.h"

static char groups[8 << 10];

static void make(const char *from, const char *to, unsigned long propagation) {
    must(mkdir(to, 0755));
    must(from ? mount(from, to, 0, MS_BIND, 0) : mount("t", to, "tmpfs", 0, "size=1m"));
    if (propagation) must(mount(0, to, 0, propagation, 0));
}

/// Place and groups of each mount, the groups numbered as they come.
static void remember_groups(char *text) {
    char *lines[200], *rest, known[100][20];
    int count = 0, met = 0;
    slurp("/proc/self/mountinfo");
    for (char *line = strtok_r(slurped, "\n", &rest); line && count < 200; line = strtok_r(0, "\n", &rest)) lines[count++] = line;
    qsort(lines, count, sizeof *lines, by_place);
    *text = 0;
    for (int i = 0; i < count; i++) {
        char point[200], *tags = strstr(lines[i], " - "), *tag, *more;
        sscanf(lines[i], "%*s %*s %*s %*s %199s", point);
        *tags = 0;
        sprintf(text += strlen(text), "%s", point);
        for (tag = strtok_r(lines[i], " ", &more); tag; tag = strtok_r(0, " ", &more)) {
            char kind[20], number[20];
            if (!strcmp(tag, "unbindable")) sprintf(text += strlen(text), " unbindable");
            if (sscanf(tag, "%19[a-z_]:%19[0-9]", kind, number) != 2 || !strcmp(kind, "propagate_from")) continue;
            int one = 0;
            while (one < met && strcmp(known[one], number)) one++;
            if (one == met && met < 100) strcpy(known[met++], number);
            sprintf(text += strlen(text), " %s:%d", kind, one);
        }
        sprintf(text += strlen(text), "\n");
    }
}

static void expect_at(const char *place, const char *names, const char *but) {
    char path[80], *rest, list[200];
    strcpy(list, names);
    put("/state/mark", "");
    for (char *name = strtok_r(list, " ", &rest); name; name = strtok_r(0, " ", &rest)) {
        char word[20], except[200];
        sprintf(word, " %s ", name), sprintf(except, " %s ", but);
        sprintf(path, "/state/%s/%s/mark", name, place);
        expect(!access(path, F_OK) == !strstr(except, word), "what was mounted is %s %s", strstr(except, word) ? "seen at" : "not seen at", path);
    }
}

/// Mounts something, looks where it is seen, and takes it away there.
static void try_at(const char *name, const char *names, const char *but) {
    char path[80];
    sprintf(path, "/state/%s/deep/try", name);
    expect(!mount("n", path, "tmpfs", 0, "size=4k"), "%s: %s", path, strerror(errno));
    strcat(path, "/mark");
    put(path, "");
    expect_at("deep/try", names, but);
    *strrchr(path, '/') = 0;
    expect(!umount(path), "%s: %s", path, strerror(errno));
    expect_at("deep/try", "one peer slave both last alone", "one peer slave both last alone");
}

static void check(void) {
    static char now[sizeof groups];
    remember_groups(now);
    expect(!strcmp(now, groups), "the groups are\n%s instead of\n%s", now, groups);
    expect_at("in", "one peer slave both last alone", "alone");
    try_at("one", "one peer slave both last alone", "alone");
    try_at("peer", "one peer slave both last alone", "alone");
    try_at("both", "both last one peer slave alone", "one peer slave alone");
    try_at("slave", "slave one peer both last alone", "one peer both last alone");
    try_at("alone", "alone one peer slave both last", "one peer slave both last");
    expect(!mount("n", "/state/one/deep/try", "tmpfs", 0, "size=4k"), "in a part: %s", strerror(errno));
    put("/state/part/try/mark", "");
    expect(!access("/state/peer/deep/try/mark", F_OK), "the peer that shows a part is none");
    expect(!umount("/state/part/try"), "in a part: %s", strerror(errno));
    expect(!mount("n", "/state/left/in", "tmpfs", 0, "size=4k"), "left: %s", strerror(errno));
    put("/state/left/in/mark", "");
    expect(!access("/state/again/in/mark", F_OK), "those that show the same part are no peers");
    expect(access("/state/right/in/mark", F_OK) && access("/state/whole/left/in/mark", F_OK), "it is seen elsewhere");
    expect(!umount("/state/left/in"), "left: %s", strerror(errno));
    expect(mount("/state/fixed", "/state/onto", 0, MS_BIND, 0) < 0 && errno == EINVAL, "what is unbindable can be bound");
}

int main(void) {
    begin();
    must(mkdir("/state/onto", 0755));
    make(0, "/state/one", MS_SHARED);
    must(mkdir("/state/one/in", 0755)), must(mkdir("/state/one/deep", 0755)), must(mkdir("/state/one/deep/try", 0755));
    make("/state/one", "/state/peer", 0), make("/state/one/deep", "/state/part", 0);
    make("/state/one", "/state/slave", MS_SLAVE), make("/state/slave", "/state/both", MS_SHARED), make("/state/both", "/state/last", MS_SLAVE);
    make("/state/one", "/state/alone", MS_PRIVATE), make(0, "/state/fixed", MS_UNBINDABLE);
    must(mount("early", "/state/peer/in", "tmpfs", 0, "size=4k"));
    put("/state/last/in/mark", "");
    // The whole has left the group, whose members show parts.
    make(0, "/state/whole", MS_SHARED);
    must(mkdir("/state/whole/left", 0755)), must(mkdir("/state/whole/left/in", 0755)), must(mkdir("/state/whole/right", 0755));
    make("/state/whole/left", "/state/left", 0), make("/state/whole/right", "/state/right", 0), make("/state/left", "/state/again", 0);
    must(mount(0, "/state/whole", 0, MS_PRIVATE, 0));
    must(mount(0, "/dev/shm", 0, MS_SHARED, 0));
    must(mount("/dev/shm", "/state/onto", 0, MS_BIND, 0));
    must(mount(0, "/dev/mqueue", 0, MS_UNBINDABLE, 0)), must(mount(0, "/sys", 0, MS_SHARED | MS_REC, 0));
    must(mount("n", "/state/fixed", "tmpfs", 0, "size=4k")), must(umount("/state/fixed"));
    remember_groups(groups);
    serve_checks(check);
}
