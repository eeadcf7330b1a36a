// The facts of a process that a checkpoint must not change, as text, one per line: compared from question to question.
#pragma once
#include <dirent.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

enum facts {
    STATUS = 1, ACTIONS = 2, LAYOUT = 4, DESCRIPTORS = 8, OFFSETS = 16, MOUNTS = 32, THREADS = 64, PENDING = 128, ALL_FACTS = 255,
};
static int compared = ALL_FACTS;   // a workload takes out what it changes by itself

struct sheet {
    size_t used;
    char text[48 << 10];
};
static struct sheet sheets[2], *known = &sheets[0], *draft = &sheets[1];
static char slurped[64 << 10];

static void fact(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fact(const char *format, ...) {
    va_list values;
    va_start(values, format);
    int n = vsnprintf(draft->text + draft->used, sizeof draft->text - draft->used, format, values);
    va_end(values);
    draft->used += n;
    if (draft->used >= sizeof draft->text) _exit(96);
}

/// Reads a whole file of procfs; the descriptor that it used is closed again.
static size_t slurp(const char *path) {
    size_t used = 0;
    ssize_t n;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    while (file >= 0 && used < sizeof slurped - 1 && (n = read(file, slurped + used, sizeof slurped - 1 - used)) > 0) used += n;
    if (file >= 0) close(file);
    slurped[used] = 0;
    return used;
}

static unsigned long digest(const void *bytes, size_t count) {
    unsigned long hash = 1469598103934665603UL;
    for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211UL;
    return hash;
}

/// The lines of `path` that begin with one of `names` (each with its colon).
static void facts_named(const char *path, const char *names) {
    slurp(path);
    for (char *rest, *line = strtok_r(slurped, "\n", &rest); line; line = strtok_r(0, "\n", &rest)) {
        char name[40] = " ";
        size_t length = strcspn(line, ":");
        if (length > sizeof name - 4) continue;
        memcpy(name + 1, line, length + 1);
        strcpy(name + length + 2, " ");
        if (strstr(names, name)) fact("%s\n", line);
    }
}

static void facts_of_status(void) {
    facts_named("/proc/thread-self/status",
        " Name: Umask: Tgid: Pid: PPid: Uid: Gid: Groups: VmLck: Threads: SigBlk: SigIgn: SigCgt:"
        " CapInh: CapPrm: CapEff: CapBnd: CapAmb: NoNewPrivs: Seccomp: Seccomp_filters: ");
    if (compared & PENDING) facts_named("/proc/thread-self/status", " SigPnd: ShdPnd: ");
    static const char *const whole[] = {
        "/proc/self/limits", "/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv", "/proc/self/oom_score_adj",
        "/proc/self/personality", "/proc/self/coredump_filter",
    };
    for (size_t i = 0; i < COUNT(whole) - 1; i++) {
        size_t size = slurp(whole[i]);
        fact("%s %zu bytes %lx\n", whole[i], size, digest(slurped, size));
    }
    slurp("/proc/thread-self/stat");
    int field = 2;
    char *rest;
    for (char *value = strtok_r(strrchr(slurped, ')') + 1, " ", &rest); value; value = strtok_r(0, " ", &rest)) {
        field++;   // see proc(5): ids, terminal, priority, code and stack, exit signal, policy, data, brk, arguments
        if ((field >= 4 && field <= 8) || (field >= 18 && field <= 20) || (field >= 26 && field <= 28) || field == 38
            || field == 40 || field == 41 || (field >= 45 && field <= 51)) fact("stat field %d: %s\n", field, value);
    }
    static const struct { int option; const char *name; } options[] = {
        {PR_GET_DUMPABLE, "dumpable"}, {PR_GET_KEEPCAPS, "keepcaps"}, {PR_GET_SECUREBITS, "securebits"},
        {PR_GET_NO_NEW_PRIVS, "no_new_privs"}, {PR_GET_THP_DISABLE, "thp_disable"},
    };
    for (size_t i = 0; i < COUNT(options); i++) fact("%s %d\n", options[i].name, prctl(options[i].option, 0, 0, 0, 0));
    int value = 0;
    prctl(PR_GET_PDEATHSIG, &value);
    fact("pdeathsig %d\n", value);
    prctl(PR_GET_CHILD_SUBREAPER, &value);
    fact("child_subreaper %d\n", value);
    void *pointer = 0;
    size_t length = 0;
    prctl(PR_GET_TID_ADDRESS, &pointer);
    fact("tid_address %p\n", pointer);
    syscall(SYS_get_robust_list, 0, &pointer, &length);
    fact("robust_list %p %zu\n", pointer, length);
    stack_t stack;
    sigaltstack(0, &stack);
    fact("sigaltstack %p %zu flags %x\n", stack.ss_sp, stack.ss_size, stack.ss_flags);
    struct utsname names;
    uname(&names);
    fact("host %s domain %s\n", names.nodename, names.domainname);
    static const char *const links[] = {"/proc/self/exe", "/proc/self/cwd", "/proc/self/root"};
    for (size_t i = 0; i < COUNT(links); i++) {
        char target[200];
        ssize_t n = readlink(links[i], target, sizeof target - 1);
        fact("%s -> %.*s\n", links[i], (int)(n > 0 ? n : 0), target);
    }
}

static void facts_of_actions(void) {
    struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } action;
    for (int signal = 1; signal <= 64; signal++)
        if (!syscall(SYS_rt_sigaction, signal, 0, &action, 8))
            fact("signal %d: %p flags %lx mask %lx\n", signal, action.handler, action.flags, action.mask);
}

/// The memory layout. Neighbours that could be one mapping count as one; the stack may have grown.
static void facts_of_layout(void) {
    unsigned long from = 0, to = 0, offset = 0, start, end, at;
    char modes[8] = "", name[200] = "", mode[8], path[200];
    slurp("/proc/self/maps");
    char *rest, *line = strtok_r(slurped, "\n", &rest);
    for (;; line = strtok_r(0, "\n", &rest)) {
        path[0] = 0;
        if (line && sscanf(line, "%lx-%lx %7s %lx %*s %*s %199[^\n]", &start, &end, mode, &at, path) < 4) continue;
        bool named = path[0];
        if (line && start == to && !strcmp(mode, modes) && !strcmp(path, name) && (!named || at == offset + (to - from))) {
            to = end;
            continue;
        }
        if (!strcmp(name, "[stack]")) from = 0;
        if (to) fact("maps %lx-%lx %s %lx %s\n", from, to, modes, name[0] == '/' ? offset : 0, name);
        if (!line) break;
        from = start, to = end, offset = at;
        strcpy(modes, mode), strcpy(name, path);
    }
}

/// The numbers in a directory of procfs (descriptors, threads), in order.
static int numbers_in(const char *path, int *numbers, int room) {
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
    long n;
    while ((n = syscall(SYS_getdents64, directory, slurped, sizeof slurped)) > 0)
        for (char *at = slurped; at < slurped + n; at += ((struct dirent64 *)at)->d_reclen) {
            int number = atoi(((struct dirent64 *)at)->d_name);
            bool listed = ((struct dirent64 *)at)->d_name[0] != '.' && number != directory;
            if (listed && count < room) numbers[count++] = number;
        }
    close(directory);
    return count;
}

static void facts_of_descriptors(void) {
    int numbers[256], count = numbers_in("/proc/self/fd", numbers, 256);
    for (int i = 0; i < count; i++) {
        char path[40], target[200] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", numbers[i]);
        ssize_t n = readlink(path, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        char *bracket = target[0] == '/' ? 0 : strchr(target, '[');   // pipe:[123] is pipe again, with another number
        if (bracket && bracket[1] >= '0' && bracket[1] <= '9') strcpy(bracket, "[]");
        fact("descriptor %d -> %s\n", numbers[i], numbers[i] < 3 ? "stdio" : target);
        if (numbers[i] < 3) continue;
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", numbers[i]);
        long position = 0;
        unsigned long flags = 0;
        if (slurp(path)) sscanf(slurped, "pos: %ld flags: %lo", &position, &flags);
        fact("descriptor %d: flags %lo", numbers[i], flags & ~0100000UL);   // O_LARGEFILE means nothing on 64 bits
        fact(compared & OFFSETS ? " at %ld\n" : "\n", position);
    }
}

/// What follows the ids in a line of mountinfo.
static const char *past_ids(const char *line) {
    for (int blanks = 0; *line && blanks < 3; line++) blanks += *line == ' ';
    return line;
}

static int by_place(const void *one, const void *other) {
    return strcmp(past_ids(*(const char *const *)one), past_ids(*(const char *const *)other));
}

/// In an order of their own: the kernel's is that in which they were made.
static void facts_of_mounts(void) {
    char *lines[200], *rest;
    int count = 0;
    slurp("/proc/self/mountinfo");
    for (char *line = strtok_r(slurped, "\n", &rest); line && count < 200; line = strtok_r(0, "\n", &rest)) lines[count++] = line;
    qsort(lines, count, sizeof *lines, by_place);
    for (int i = 0; i < count; i++) {
        char root[300], point[200], options[200], kind[40], source[200], more[300];
        char *after = strstr(lines[i], " - ");
        if (!after || sscanf(lines[i], "%*s %*s %*s %299s %199s %199s", root, point, options) != 3) continue;
        if (sscanf(after, " - %39s %199s %299s", kind, source, more) != 3) continue;
        fact("mount %s of %s %s at %s: %s, %s\n", root, kind, source, point, options, more);
    }
}

static void facts_of_threads(void) {
    int numbers[64], count = numbers_in("/proc/self/task", numbers, 64);
    for (int i = 0; i < count; i++) {
        char path[60];
        snprintf(path, sizeof path, "/proc/self/task/%d/status", numbers[i]);
        fact("thread %d\n", numbers[i]);
        facts_named(path, compared & PENDING ? " Name: SigBlk: SigPnd: CapEff: Seccomp: " : " Name: SigBlk: CapEff: Seccomp: ");
    }
}

static void remember_facts(void) {
    draft->used = 0;
    draft->text[0] = 0;
    if (compared & STATUS) facts_of_status();
    if (compared & ACTIONS) facts_of_actions();
    if (compared & LAYOUT) facts_of_layout();
    if (compared & DESCRIPTORS) facts_of_descriptors();
    if (compared & MOUNTS) facts_of_mounts();
    if (compared & THREADS) facts_of_threads();
    struct sheet *swap = known;
    known = draft, draft = swap;
}

/// Says which lines of one text the other has not; four are enough for a report.
static int tell_missing(const char *what, const char *text, const char *other) {
    int told = 0;
    for (const char *line = text, *end; *line && told < 4; line = end + 1) {
        char whole[400] = "\n";
        end = strchr(line, '\n');
        snprintf(whole + 1, sizeof whole - 1, "%.*s\n", (int)(end - line), line);
        if (strstr(other, whole) || !strncmp(other, whole + 1, end - line + 1)) continue;
        expect(false, "%s '%.*s'", what, (int)(end - line), line);
        told++;
    }
    return told;
}

static void compare_facts(void) {
    remember_facts();
    // A thread that has just been let go need not be back in its sigsuspend, whose mask is the one that is seen: for a
    // moment the facts may differ, but they must become what they were.
    for (int look = 0; look < 200 && strcmp(draft->text, known->text); look++) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        __typeof__(draft) older = draft;
        draft = known;
        known = older;
        remember_facts();
    }
    const char *before = draft->text, *now = known->text;
    if (!strcmp(before, now)) return;
    int told = tell_missing("no more", before, now) + tell_missing("now", now, before);
    expect(told, "the facts come in another order");
}
