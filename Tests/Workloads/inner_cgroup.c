// Cgroups inside the container's own: limits, owners' rights, who is in them, a thread apart from its process; they still bind.
// In a user namespace the container's root may not make any in hierarchies of v1, and then there are none to check.
// cgroups: writable
// capabilities: CAP_SYS_ADMIN
#include "workload.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define TOP "/sys/fs/cgroup/"

static const struct { const char *file, *value; } settings[] = {
    {TOP "pids/box/pids.max", "7"},
    {TOP "memory/box/memory.limit_in_bytes", "67108864"},
    {TOP "memory/box/memory.swappiness", "10"},
    {TOP "cpu/box/cpu.shares", "333"},
    {TOP "cpu/box/cpu.cfs_quota_us", "50000"},
    {TOP "cpuset/box/cpuset.cpus", "0"},
    {TOP "cpuset/box/cpuset.mems", "0"},
    {TOP "freezer/box/notify_on_release", "0"},
    {TOP "devices/box/devices.deny", 0},   // that one alone is no setting that can be read
};
static const char *const folders[] = {
    TOP "pids/box", TOP "pids/box/deep", TOP "pids/empty", TOP "memory/box", TOP "cpu/box", TOP "cpuset/box",
    TOP "freezer/box", TOP "devices/box", TOP "unified/box", TOP "unified/box/leaf",
};
static bool has[COUNT(folders)], is_made;
static char lines_of_child[4096], lines_of_thread[4096];
static struct seat *child;
static pid_t thread;

static void write_to(const char *path, const char *text) {
    int file = must(open(path, O_WRONLY));
    must(write(file, text, strlen(text)));
    close(file);
}

static bool is_there(const char *path) {
    struct stat found;
    return !stat(path, &found);
}

/// Whether the folder above a file is one of those that were made.
static bool is_ours(const char *file) {
    for (size_t i = 0; i < COUNT(folders); i++)
        if (has[i] && !strncmp(file, folders[i], strlen(folders[i])) && !strchr(file + strlen(folders[i]) + 1, '/')) return true;
    return false;
}

static void value_of(const char *path, char *text, size_t size) {
    int file = must(open(path, O_RDONLY));
    ssize_t n = must(read(file, text, size - 1));
    while (n && text[n - 1] == '\n') n--;
    text[n] = 0;
    close(file);
}

static void membership(pid_t task, char *text, size_t size) {
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/cgroup", task);
    value_of(path, text, size);
    for (char *c = text; *c; c++) if (*c == '\n') *c = ' ';   // a fault is one line
}

static void join(const char *folder, const char *file, pid_t task) {
    char path[100], number[20];
    if (!is_there(folder)) return;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    snprintf(number, sizeof number, "%d", task);
    write_to(path, number);
}

static void join_all(void) {
    pid_t own = getpid();
    join(TOP "pids/box/deep", "cgroup.procs", own);
    join(TOP "memory/box", "cgroup.procs", own);
    join(TOP "cpu/box", "cgroup.procs", own);
    join(TOP "cpuset/box", "cgroup.procs", own);
    join(TOP "devices/box", "cgroup.procs", own);
    join(TOP "unified/box/leaf", "cgroup.procs", own);
}

/// The limits of its cgroups hold: seven tasks, and no device that was denied.
static void check_limits(void) {
    pid_t born[8];
    int count = 0;
    while (count < 8 && (born[count] = fork()) > 0) count++;
    if (count < 8 && !born[count]) for (;;) pause();
    if (is_there(TOP "pids/box")) expect(count == 5 && errno == EAGAIN, "%d children instead of 5: %s", count, strerror(errno));
    for (int i = 0; i < count; i++) {
        kill(born[i], SIGKILL);
        waitpid(born[i], 0, 0);
    }
    int zero = open("/dev/zero", O_RDONLY);
    if (is_there(TOP "devices/box")) expect(zero < 0 && errno == EPERM, "the denied device opens");
    if (zero >= 0) close(zero);
}

static void *apart(void *none) {
    (void)none;
    thread = gettid();
    join(TOP "pids/box", "tasks", thread);
    membership(thread, lines_of_thread, sizeof lines_of_thread);
    for (;;) pause();
    return 0;
}

static void check(void) {
    char now[4096];
    for (size_t i = 0; i < COUNT(folders); i++) expect(is_there(folders[i]) == has[i], "%s is %s", folders[i], has[i] ? "gone" : "there");
    if (!is_made) return;
    for (size_t i = 0; i < COUNT(settings); i++) {
        if (!settings[i].value || !is_ours(settings[i].file)) continue;
        value_of(settings[i].file, now, sizeof now);
        expect(!strcmp(now, settings[i].value), "%s is %s", settings[i].file, now);
    }
    membership(child->pid, now, sizeof now);
    expect(!strcmp(now, lines_of_child), "the child is in %s", now);
    membership(thread, now, sizeof now);
    expect(!strcmp(now, lines_of_thread), "the thread is in %s", now);
    membership(getpid(), now, sizeof now);
    expect(!strstr(now, "/box"), "the first process is in %s", now);
    struct stat found;
    if (is_there(TOP "pids/box/deep")) {
        must(stat(TOP "pids/box/deep", &found));
        expect((found.st_mode & 0777) == 0750, "the folder has mode %o", found.st_mode);
        must(stat(TOP "pids/box/deep/cgroup.procs", &found));
        expect((found.st_mode & 0777) == 0600, "the file has mode %o", found.st_mode);
    }
}

int main(void) {
    begin();
    for (size_t i = 0; i < COUNT(folders); i++) is_made |= has[i] = !mkdir(folders[i], 0755);
    for (size_t i = 0; i < COUNT(settings); i++)
        if (settings[i].value && is_ours(settings[i].file)) write_to(settings[i].file, settings[i].value);
    if (is_there(TOP "devices/box")) write_to(TOP "devices/box/devices.deny", "c 1:5 rwm");
    if (is_there(TOP "pids/box/deep")) {
        must(chmod(TOP "pids/box/deep", 0750));
        must(chmod(TOP "pids/box/deep/cgroup.procs", 0600));
    }
    child = hire(join_all, check_limits);
    start_thread(apart, 0);
    if (!within(10, lines_of_thread[0])) give_up("a thread in its cgroup", __LINE__);
    membership(child->pid, lines_of_child, sizeof lines_of_child);
    serve_checks(check);
}
