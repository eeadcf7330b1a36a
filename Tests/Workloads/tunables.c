// How the kernel treats each thread: its CPUs, I/O priority, timer slack and memory policy, what the processor may guess, its
// time stamps and when a machine's fault kills it; what a core dump holds, that all memory to come is locked, that memory is
// merged, has a policy of its own, and gets huge pages where it asks for them alone.
// capabilities: CAP_IPC_LOCK
// seccomp: none
#include "workload.h"
#include <sys/prctl.h>

static atomic_int asked, answered;
static int huge;   // what PR_GET_THP_DISABLE said: kernels before 6.18 do not take the flag

enum { STORE_BYPASS, INDIRECT_BRANCH, KINDS };
static int guesses[KINDS];

static int guess(int kind) { return prctl(PR_GET_SPECULATION_CTRL, kind, 0, 0, 0); }

static int stamps(void) {
    int mode = 0;
    prctl(PR_GET_TSC, &mode);
    return mode;
}

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
    must(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));   // this thread asks no clock
    for (atomic_store(&answered, 1);; pause_ms(2)) {
        int round = atomic_load(&asked);
        if (round < 2 || round == atomic_load(&answered)) continue;
        check_cpu("other thread", last_cpu());
        expect(syscall(SYS_ioprio_get, 1, 0) == (3 << 13 | 7), "other thread: another I/O priority");
        expect(stamps() == PR_TSC_SIGSEGV, "other thread: it may read time stamps");
        expect(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_DEFAULT, "other thread: other faults kill it");
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
    for (int i = 0; i < KINDS; i++) {
        if (guess(i) > 0 && guess(i) & PR_SPEC_PRCTL) must(prctl(PR_SET_SPECULATION_CTRL, i, PR_SPEC_DISABLE, 0, 0));
        guesses[i] = guess(i);
    }
    must(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
    if (prctl(PR_SET_THP_DISABLE, 1, 2, 0, 0)) must(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));   // but where it is advised
    huge = must(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    bool merges = prctl(68, 0, 0, 0, 0) == 0 && !prctl(67, 1, 0, 0, 0);   // PR_SET_MEMORY_MERGE, Linux 6.4
    char *placed = must(mmap(0, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    must(syscall(SYS_mbind, placed + 16 * PAGE, 16 * PAGE, 3, nodes, 1024, 0));   // MPOL_INTERLEAVE
    memset(placed, 7, 20 * PAGE);
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
        for (int i = 0; i < KINDS; i++) expect(guess(i) == guesses[i], "guesses of kind %d: %d", i, guess(i));
        expect(stamps() == PR_TSC_ENABLE, "no time stamps");
        expect(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY, "other faults kill it");
        expect(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == huge, "huge pages: %d", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
        expect(prctl(68, 0, 0, 0, 0) == merges || !merges, "its memory is not merged any more");
        int mode = 0;
        unsigned long told[16] = {0};
        for (int i = 0; i < 64; i += 8) {
            bool is_placed = i >= 16 && i < 32;
            expect(!syscall(SYS_get_mempolicy, &mode, told, 1024, placed + i * PAGE, 2) && mode == (is_placed ? 3 : 0) &&
                       told[0] == is_placed, "page %d has policy %d", i, mode);
        }
        expect(placed[0] == 7 && placed[20 * PAGE - 1] == 7, "placed memory has another content");
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
