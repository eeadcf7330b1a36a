// A time namespace of a child, with clocks of its own, and a process that shares it. They go on as the container's do, and
// stay as far ahead of them; timers that run by them end when they should.
// capabilities: CAP_SYS_ADMIN CAP_SYS_TIME
// seccomp: none
#include "namespaces.h"
#include <sys/timerfd.h>

static struct seat *maker, *child;
static long long last;
static struct { atomic_llong monotonic, boot; } *told;
static int timer;

/// The clock of the container's is read by its first process between two questions.
static long long ahead(clockid_t clock) {
    return now(clock) - (clock == CLOCK_MONOTONIC ? told->monotonic : told->boot);
}

static void leave(void) {
    must(unshare(CLONE_NEWTIME));
    int file = must(open("/proc/self/timens_offsets", O_WRONLY));
    const char *lines = "monotonic 5000 250000000\nboottime -1 500000000\n";
    // The machine may have been up for less than a second; and boottime is to differ by another amount.
    must(write(file, lines, strlen(lines)));
    close(file);
    int place = must(open("/proc/self/ns/time_for_children", O_RDONLY));
    must(setns(place, CLONE_NEWTIME));
    close(place);
    last = now(CLOCK_MONOTONIC);
    timer = must(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    struct itimerspec end = {.it_value = {last / SECOND + 3600, 0}};
    must(timerfd_settime(timer, TFD_TIMER_ABSTIME, &end, 0));
}

static void join(void) {
    join_namespace(maker->pid, "time");
    last = now(CLOCK_MONOTONIC);
}

static void check_clocks(void) {
    long long this = now(CLOCK_MONOTONIC);
    expect(this >= last && this < last + 120 * SECOND, "the clock went from %lld to %lld", last, this);
    last = this;
    // What has gone by since the first process looked is little.
    long long monotonic = ahead(CLOCK_MONOTONIC) - told[1].monotonic, boot = ahead(CLOCK_BOOTTIME) - told[1].boot;
    expect(monotonic >= 0 && monotonic < 10 * SECOND, "the clock is %lld ns ahead of what it should be", monotonic);
    expect(boot >= 0 && boot < 10 * SECOND, "the clock since boot is %lld ns ahead of what it should be", boot);
    struct timespec raw, coarse;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse);
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &raw);
    expect(llabs(coarse.tv_sec * SECOND + coarse.tv_nsec - this) < SECOND, "the coarse clock is elsewhere");
    expect(llabs(raw.tv_sec * SECOND + raw.tv_nsec - this) < SECOND, "the kernel's clock is another than the vdso's");
    expect(within(5, now(CLOCK_MONOTONIC) > this + SECOND / 100), "the clock stands");
}

static void check_maker(void) {
    check_clocks();
    struct itimerspec rest;
    expect(!timerfd_gettime(timer, &rest) && rest.it_value.tv_sec > 3000 && rest.it_value.tv_sec <= 3600,
           "the timer has %ld s", rest.it_value.tv_sec);
    struct itimerspec soon = {.it_value = {0, 10000000}};
    int other = timerfd_create(CLOCK_BOOTTIME, 0);
    uint64_t count = 0;
    expect(!timerfd_settime(other, 0, &soon, 0) && read(other, &count, 8) == 8 && count == 1, "a timer does not end");
    close(other);
    pid_t born = fork();
    if (!born) _exit(llabs(now(CLOCK_MONOTONIC) - last) < 100 * SECOND ? 7 : 8);
    int status;
    expect(waitpid(born, &status, 0) == born && WEXITSTATUS(status) == 7, "a child has other clocks");
}

static void look(void) {
    told->monotonic = now(CLOCK_MONOTONIC);
    told->boot = now(CLOCK_BOOTTIME);
}

static void check(void) {
    look();
    ino_t own = namespace_of(getpid(), "time"), inner = namespace_of(maker->pid, "time");
    expect(own && inner && own != inner, "one namespace");
    expect(namespace_of(child->pid, "time") == inner, "one namespace has become two");
    expect(namespace_of(getpid(), "time_for_children") == own, "its children are to be elsewhere");
}

int main(void) {
    begin();
    told = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    look();
    maker = hire(leave, check_maker);
    told[1].monotonic = 5000 * SECOND + SECOND / 4;
    told[1].boot = -SECOND / 2;
    child = hire(join, check_clocks);
    serve_checks(check);
}
