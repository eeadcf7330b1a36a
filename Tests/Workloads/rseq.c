// Restartable sequences: the kernel goes on telling every thread its processor in the area that the C library registered.
#include "workload.h"
#include <sys/rseq.h>

static atomic_int asked, answered;

static struct rseq *area(void) { return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset); }

/// The area follows the thread from processor to processor.
static void check_area(const char *who) {
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all)) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        expect(!sched_setaffinity(0, sizeof one, &one), "%s: sched_setaffinity", who);
        expect((int)*(volatile uint32_t *)&area()->cpu_id == cpu, "%s: the area says processor %d, not %d", who, (int)area()->cpu_id, cpu);
        expect(sched_getcpu() == cpu, "%s: sched_getcpu says %d, not %d", who, sched_getcpu(), cpu);
    }
    sched_setaffinity(0, sizeof all, &all);
    long again = syscall(SYS_rseq, area(), __rseq_size < 32 ? 32 : __rseq_size, 0, RSEQ_SIG);
    expect(again == -1 && errno == EBUSY, "%s: registering the same area again gives %s", who, again ? strerror(errno) : "success");
}

static void *other_thread(void *unused) {
    for (;;) {
        if (atomic_load(&asked) != atomic_load(&answered)) {
            check_area("second thread");
            atomic_fetch_add(&answered, 1);
        }
        pause_ms(2);
    }
    return unused;
}

static void check_child(void) { check_area("child"); }

int main(void) {
    begin();
    if (__rseq_size == 0) give_up("registered rseq", __LINE__);
    start_thread(other_thread, 0);
    hire(0, check_child);
    ready();
    for (;;) {
        await_question();
        check_area("first thread");
        atomic_fetch_add(&asked, 1);
        expect(within(5, atomic_load(&asked) == atomic_load(&answered)), "the second thread does not answer");
        verdict();
    }
}
