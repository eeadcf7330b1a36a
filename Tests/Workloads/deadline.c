// SCHED_DEADLINE of a thread and of a process: so much processor time before the end of each period.
// capabilities: CAP_SYS_NICE
// seccomp: none
#include "workload.h"

enum { DEADLINE = 6, RESET_ON_FORK = 1 };
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
static const struct scheduling wanted[] = {
    {sizeof(struct scheduling), DEADLINE, RESET_ON_FORK, 0, 0, 20000000, 90000000, 100000000},
    {sizeof(struct scheduling), DEADLINE, 0, 0, 0, 10000000, 50000000, 50000000},
};
static bool has_right;   // only the host's root may give it
static atomic_int asked, answered;

/// As it was asked for, or as every thread is where that was refused.
static void check(const char *who, const struct scheduling *wanted) {
    struct scheduling now = {};
    expect(!syscall(SYS_sched_getattr, 0, &now, sizeof now, 0), "%s: sched_getattr", who);
    if (!has_right) return expect(!now.policy, "%s has policy %u", who, now.policy);
    expect(now.policy == DEADLINE && now.flags == wanted->flags, "%s: policy %u flags %lx", who, now.policy, now.flags);
    expect(now.runtime == wanted->runtime && now.deadline == wanted->deadline && now.period == wanted->period,
           "%s: %lu before %lu of %lu", who, now.runtime, now.deadline, now.period);
}

static void become(const struct scheduling *wanted) {
    if (has_right) must(syscall(SYS_sched_setattr, 0, wanted, 0));
}

static void *other_thread(void *unused) {
    become(&wanted[0]);
    for (atomic_store(&answered, 1);; pause_ms(2)) {
        int round = atomic_load(&asked);
        if (round < 2 || round == atomic_load(&answered)) continue;
        check("a thread", &wanted[0]);
        atomic_store(&answered, round);
    }
    return unused;
}

static void enter(void) { become(&wanted[1]); }
static void check_child(void) { check("a child", &wanted[1]); }

int main(void) {
    begin();
    slurp("/proc/self/uid_map");
    unsigned int inside, outside, count;
    bool is_own = sscanf(slurped, "%u %u %u", &inside, &outside, &count) != 3 || outside || count != ~0U;
    struct scheduling normal = {.size = sizeof normal};
    has_right = !syscall(SYS_sched_setattr, 0, &wanted[0], 0);
    if (!has_right && !is_own) give_up("sched_setattr", __LINE__);
    if (has_right) must(syscall(SYS_sched_setattr, 0, &normal, 0));
    start_thread(other_thread, 0);
    if (!within(10, atomic_load(&answered))) give_up("a thread", __LINE__);
    hire(enter, check_child);
    atomic_store(&asked, 1);
    ready();
    for (;;) {
        await_question();
        int round = atomic_fetch_add(&asked, 1) + 1;
        expect(within(10, atomic_load(&answered) == round), "a thread does not answer");
        struct scheduling now = {};
        expect(!syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) && !now.policy, "the first thread has a policy");
        verdict();
    }
}
