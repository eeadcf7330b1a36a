// A cgroup namespace of a child that begins at the container's own cgroup, and a process that shares it.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "namespaces.h"

static struct seat *maker, *child;
static char before[4096];

static void read_groups(char *text) {
    int file = must(open("/proc/self/cgroup", O_RDONLY));
    ssize_t count = read(file, text, 4095);
    text[count < 0 ? 0 : count] = 0;
    close(file);
}

static void leave(void) {
    must(unshare(CLONE_NEWCGROUP));
    read_groups(before);
}

static void join(void) {
    join_namespace(maker->pid, "cgroup");
    read_groups(before);
}

static void check_groups(void) {
    char text[4096];
    read_groups(text);
    expect(!strcmp(text, before), "its cgroups are %s", text);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n');
        expect(end && end[-1] == '/' && end[-2] == ':', "it does not begin at the container's: %s", text);
        if (!end) break;
    }
}

static void check(void) {
    expect(namespace_of(maker->pid, "cgroup") != namespace_of(getpid(), "cgroup"), "two namespaces have become one");
    expect(namespace_of(maker->pid, "cgroup") == namespace_of(child->pid, "cgroup"), "one namespace has become two");
}

int main(void) {
    begin();
    maker = hire(leave, check_groups);
    child = hire(join, check_groups);
    serve_checks(check);
}
