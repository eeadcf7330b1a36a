// Credentials and everything else that the kernel keeps with a task and lets it change: as user 1000, in every thread.
// capabilities: CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_SYS_NICE
#include "workload.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static atomic_int go, thread_answer = 1;

/// chroot(2) answers with an error that it has in no other way.
static void add_filter(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chroot, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT(code), code};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
}

static void keep_capabilities(unsigned permitted, unsigned effective, unsigned inheritable) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2] = {{effective, permitted, inheritable}, {0, 0, 0}};
    must(syscall(SYS_capset, &header, sets));
}

/// Inheritable and out of the bounding set afterwards.
static void inherit_and_drop(int capability) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];
    must(syscall(SYS_capget, &header, sets));
    sets[0].inheritable |= 1 << capability;
    must(syscall(SYS_capset, &header, sets));
    must(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
}

static void lower(int resource, rlim_t soft, rlim_t hard) {
    struct rlimit limit = {soft, hard};
    must(setrlimit(resource, &limit));
}

static void check_ids(const char *who) {
    uid_t r = 0, e = 0, s = 0;
    gid_t groups[8];
    expect(!getresuid(&r, &e, &s) && r == 1000 && e == 1000 && s == 1000, "%s: users are %d %d %d", who, r, e, s);
    expect(!getresgid(&r, &e, &s) && r == 1001 && e == 1002 && s == 1003, "%s: groups are %d %d %d", who, r, e, s);
    expect(getgroups(8, groups) == 3 && groups[0] == 4 && groups[1] == 24 && groups[2] == 70000, "%s: other groups", who);
    expect(chroot("/") == -1 && errno == 77, "%s: the program's own filter is gone", who);
    expect(syscall(SYS_setns, -1, 0) == -1 && errno == EBADF, "%s: a filter answers what it did not", who);
    expect(open("/state/root_only", O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES, "%s: reads what is root's", who);
}

static void *other_thread(void *unused) {
    prctl(PR_SET_NAME, "second thread");
    setpriority(PRIO_PROCESS, 0, 11);   // of this thread alone
    atomic_store(&go, 1);
    while (atomic_load(&go) >= 0) {
        int round = atomic_load(&go);
        pause_ms(2);
        if (round == atomic_load(&thread_answer)) continue;
        char name[16] = "";
        prctl(PR_GET_NAME, name);
        check_ids("second thread");
        expect(!strcmp(name, "second thread"), "the second thread's name is %s", name);
        expect(getpriority(PRIO_PROCESS, 0) == 11, "the second thread's nice is %d", getpriority(PRIO_PROCESS, 0));
        atomic_store(&thread_answer, round);
    }
    return unused;
}

static void die_with_parent(void) { must(prctl(PR_SET_PDEATHSIG, SIGKILL)); }

static void check_child(void) {
    int signal = 0;
    check_ids("child");
    expect(!prctl(PR_GET_PDEATHSIG, &signal) && signal == SIGKILL, "the child's pdeathsig is %d", signal);
}

int main(void) {
    begin();
    close(must(open("/state/root_only", O_RDWR | O_CREAT, 0600)));
    start_thread(other_thread, 0);
    if (!within(5, atomic_load(&go))) give_up("a thread that starts", __LINE__);
    must(setpriority(PRIO_PROCESS, 0, 5));
    must(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}));
    inherit_and_drop(CAP_AUDIT_WRITE);
    must(prctl(PR_SET_SECUREBITS, 1 << 4 | 1 << 5));   // KEEP_CAPS and its lock
    gid_t groups[] = {4, 24, 70000};
    must(setgroups(3, groups));
    must(setresgid(1001, 1002, 1003));
    must(setresuid(1000, 1000, 1000));
    keep_capabilities(1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE, 1 << CAP_KILL, 1 << CAP_AUDIT_WRITE);
    umask(027);
    prctl(PR_SET_NAME, "first thread");
    lower(RLIMIT_NOFILE, 512, 1000);
    lower(RLIMIT_CORE, 0, 0);
    lower(RLIMIT_STACK, 4 << 20, 6 << 20);
    lower(RLIMIT_FSIZE, 1 << 20, 2 << 20);
    lower(RLIMIT_MEMLOCK, 4096, 8192);
    must(prctl(PR_SET_CHILD_SUBREAPER, 1));
    must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    add_filter();
    hire(die_with_parent, check_child);
    must(prctl(PR_SET_DUMPABLE, 0));
    // Before the facts are noted, the other thread must be out of the handler by which glibc changes its ids.
    int first = atomic_fetch_add(&go, 1) + 1;
    if (!within(5, atomic_load(&thread_answer) == first)) give_up("a second thread that answers", __LINE__);
    ready();
    for (;;) {
        await_question();   // the facts hold most of it: capabilities, limits, umask, nice, dumpable, policy
        check_ids("first thread");
        expect(umask(027) == 027, "another umask");
        expect(getpriority(PRIO_PROCESS, 0) == 5, "nice is %d", getpriority(PRIO_PROCESS, 0));
        expect(sched_getscheduler(0) == SCHED_BATCH, "the policy is %d", sched_getscheduler(0));
        int round = atomic_fetch_add(&go, 1) + 1;
        expect(within(5, atomic_load(&thread_answer) == round), "the second thread does not answer");
        verdict();
    }
}
