#!/usr/bin/env bash
# Linux 6.18: an absolute timeout of io_uring is in the host's time, also for a process in a time namespace.
#
# Input: CLOCK_MONOTONIC is read, one second is added, and the process waits for that moment: with clock_nanosleep
# (TIMER_ABSTIME), then with IORING_OP_TIMEOUT and IORING_TIMEOUT_ABS. Once outside, once in a time namespace whose
# monotonic clock is 100 seconds behind.
# Guessed: both wait for one second at both places: time_namespaces(7) says that the offset affects what measures
# against these clocks, and names clock_nanosleep, POSIX timers and timerfd among it.
# Instead: inside the namespace io_uring's timeout ends at once; clock_nanosleep waits for its second. (With a clock
# that is 100 seconds ahead it would end after 101 seconds.)
# Why it matters: time namespaces are how a restored container keeps its monotonic clock. An event loop on io_uring
# spins or stands still in there, though it does everything right.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/ask.c" <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static struct timespec now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}
static const char *since(struct timespec start) {
    struct timespec end = now();
    double passed = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
    return passed < 0.9 ? "at once" : passed < 50 ? "in time" : "late";
}
static void wait_twice(const char *place) {
    struct timespec start = now(), goal = {start.tv_sec + 1, start.tv_nsec};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &goal, 0);
    printf("%s: clock_nanosleep %s", place, since(start));
    struct io_uring_params ring = {0};
    int file = syscall(SYS_io_uring_setup, 4, &ring);
    char *queue = mmap(0, ring.sq_off.array + 4 * ring.sq_entries, PROT_READ | PROT_WRITE, MAP_SHARED, file,
                       IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(0, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, file, IORING_OFF_SQES);
    start = now();
    struct __kernel_timespec moment = {start.tv_sec + 1, start.tv_nsec};
    memset(entry, 0, sizeof *entry);
    entry->opcode = IORING_OP_TIMEOUT;
    entry->fd = -1;
    entry->addr = (unsigned long)&moment;
    entry->len = 1;
    entry->timeout_flags = IORING_TIMEOUT_ABS;
    __atomic_store_n((unsigned *)(queue + ring.sq_off.tail), 1, __ATOMIC_RELEASE);
    int done = syscall(SYS_io_uring_enter, file, 1, 1, IORING_ENTER_GETEVENTS, 0, 0);
    printf(", io_uring %s\n", done == 1 ? since(start) : "failed");
    fflush(stdout);
}
int main(void) {
    const char offset[] = "monotonic -100 0";
    wait_twice("host");
    if (unshare(0x80))  // CLONE_NEWTIME
        return 1;
    int offsets = open("/proc/self/timens_offsets", O_WRONLY);
    if (write(offsets, offset, sizeof offset - 1) < 0)
        return 1;
    if (fork() == 0) {
        wait_twice("namespace");
        _exit(0);
    }
    wait(0);
}
C
gcc -o "$dir/ask" "$dir/ask.c"
got=$("$dir/ask")
seen='host: clock_nanosleep in time, io_uring in time
namespace: clock_nanosleep in time, io_uring at once'
if [ "$got" != "$seen" ]; then
    printf 'CHANGED: absolute timeouts on %s:\n%s\n' "$(uname -r)" "$got"
    exit 1
fi
echo 'same as seen: io_uring takes an absolute timeout for host time inside a time namespace'
