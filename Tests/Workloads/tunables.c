// How the kernel treats each thread: its CPUs, I/O priority, timer slack and memory policy; what a core dump holds, and that
// all memory to come is locked.
// capabilities: CAP_IPC_LOCK
// seccomp: none
#include "workload.h"
#include <sys/prctl.h>

static atomic_int asked, answered;

static void run_on(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    must(sched_setaffinity(0, sizeof set, &set));
}

static void check_cpu(const char *who, int cpu) {
    cpu_set_t set;
    expect(!sched_getaffinity(0, sizeof set, &set) && CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set), "%s: other CPUs", who);
}

static int last_cpu(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN) - 1; }

static void *other_thread(void *unused) {
    run_on(last_cpu());
    must(syscall(SYS_ioprio_set, 1, 0, 3 << 13 | 7));
    for (atomic_store(&answered, 1);; pause_ms(2)) {
        int round = atomic_load(&asked);
        if (round < 2 || round == atomic_load(&answered)) continue;
        check_cpu("other thread", last_cpu());
        expect(syscall(SYS_ioprio_get, 1, 0) == (3 << 13 | 7), "other thread: another I/O priority");
        expect(prctl(PR_GET_TIMERSLACK) == 50000, "other thread: another timer slack");
        atomic_store(&answered, round);
    }
    return unused;
}

static int locked_kilobytes(void) {
    char text[4096], *place;
    int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(status, text, sizeof text - 1);
    close(status);
    text[length > 0 ? length : 0] = 0;
    place = strstr(text, "VmLck:");
    return place ? atoi(place + 6) : -1;
}

int main(void) {
    begin();
    start_thread(other_thread, 0);
    if (!within(5, atomic_load(&answered))) give_up("a thread that starts", __LINE__);
    run_on(0);
    must(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));   // best effort
    must(prctl(PR_SET_TIMERSLACK, 1234567));
    unsigned long nodes[16] = {1};
    must(syscall(SYS_set_mempolicy, 2, nodes, 1024));   // MPOL_BIND
    int filter = must(open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC));
    must(write(filter, "0x7f", 4));
    close(filter);
    must(syscall(SYS_mlockall, MCL_FUTURE | 4));   // MCL_ONFAULT
    ready();
    for (int round = 2;; round++) {
        await_question();
        check_cpu("first thread", 0);
        expect(syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6), "another I/O priority");
        expect(prctl(PR_GET_TIMERSLACK) == 1234567, "timer slack is %d", prctl(PR_GET_TIMERSLACK));
        int mode = 0;
        unsigned long told[16] = {0};
        expect(!syscall(SYS_get_mempolicy, &mode, told, 1024, 0, 0) && mode == 2 && told[0] == 1, "another memory policy");
        char text[16] = "";
        int file = open("/proc/self/coredump_filter", O_RDONLY | O_CLOEXEC);
        expect(read(file, text, sizeof text - 1) > 0 && !strncmp(text, "0000007f", 8), "coredump_filter is %s", text);
        close(file);
        int before = locked_kilobytes();
        char *memory = mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        unsigned char present[64] = {0};
        expect(memory != MAP_FAILED && locked_kilobytes() == before + 256, "new memory is not locked");
        expect(!mincore(memory, 64 * PAGE, present) && !present[5], "new memory is filled at once");
        munmap(memory, 64 * PAGE);
        atomic_store(&asked, round);
        expect(within(5, atomic_load(&answered) == round), "the other thread does not answer");
        verdict();
    }
}
