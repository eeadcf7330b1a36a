// Processes that stop, continue and kill each other and themselves, by kill and by POSIX timers, at random and without end.
// The first process buries the dead and makes new ones, and is shot at with SIGSTOP from a timer of its own. When asked it
// lets the others come to rest: each that lives must go on, with the rights that it was born with.
#include "workload.h"

enum { VICTIMS = 6 };
struct victim { atomic_int pid, checked; atomic_long steps, other_steps; char faults[400]; };
static struct field { atomic_int is_calm, round; struct victim victims[VICTIMS]; } *field;

static void arm(int signal, long first, long period) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec setting = {{period / 1000000, period % 1000000 * 1000}, {first / 1000000, first % 1000000 * 1000}};
    must(timer_create(CLOCK_MONOTONIC, &event, &timer));
    must(timer_settime(timer, 0, &setting, 0));
}

static void shoot(unsigned *seed) {
    int pid = atomic_load(&field->victims[rand_r(seed) % VICTIMS].pid);
    if (pid <= 1) return;
    int dice = rand_r(seed) % 100;
    kill(pid, dice < 45 ? SIGSTOP : dice < 98 ? SIGCONT : SIGKILL);
    if (dice < 15) kill(pid, SIGCONT);
}

static void *step(void *victim) {
    for (;;) {
        atomic_fetch_add(&((struct victim *)victim)->other_steps, 1);
        usleep(300);
    }
    return 0;
}

static void suffer(struct victim *victim) {
    unsigned seed = getpid();
    compared = STATUS;
    start_thread(step, victim);
    remember_facts();
    arm(SIGSTOP, 100 + rand_r(&seed) % 3000, 1000 + rand_r(&seed) % 3000);
    arm(SIGCONT, 100 + rand_r(&seed) % 1000, 200 + rand_r(&seed) % 500);
    if (rand_r(&seed) % 3 == 0) arm(SIGKILL, 50000 + rand_r(&seed) % 2000000, 0);
    for (;;) {
        atomic_fetch_add(&victim->steps, 1);
        int round = atomic_load(&field->round);
        if (atomic_load(&victim->checked) != round) {
            compare_facts();
            remember_facts();
            memcpy(victim->faults, my_faults, sizeof victim->faults - 1);
            atomic_store(&victim->checked, round);
        }
        if (!atomic_load(&field->is_calm) && rand_r(&seed) % 8 == 0) shoot(&seed);
        usleep(rand_r(&seed) % 500);
    }
}

static void replace(struct victim *victim) {
    atomic_store(&victim->checked, atomic_load(&field->round));
    victim->faults[0] = 0;
    pid_t pid = must(fork());
    if (!pid) suffer(victim);
    atomic_store(&victim->pid, pid);
}

/// Buries who died and puts others in their places.
static void bury(void) {
    for (pid_t dead; (dead = waitpid(-1, 0, WNOHANG)) > 0;)
        for (int i = 0; i < VICTIMS; i++) if (atomic_load(&field->victims[i].pid) == dead) replace(&field->victims[i]);
}

static bool goes_on(struct victim *victim) {
    int pid = atomic_load(&victim->pid);
    long steps = atomic_load(&victim->steps), other = atomic_load(&victim->other_steps);
    for (int look = 0; look < 4000; look++) {   // by looks, not by a clock: who is frozen for a while does not look meanwhile
        kill(pid, SIGCONT);
        bury();
        if (atomic_load(&victim->pid) != pid) return true;
        if (atomic_load(&victim->steps) > steps + 1 && atomic_load(&victim->other_steps) > other + 1
            && atomic_load(&victim->checked) == atomic_load(&field->round)) return true;
        pause_ms(2);
    }
    return false;
}

int main(void) {
    begin();
    compared &= ~PENDING;
    field = must(mmap(0, sizeof *field, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < VICTIMS; i++) replace(&field->victims[i]);
    arm(SIGSTOP, 1000, 1000);
    ready();
    for (unsigned seed = 1;;) {
        sigset_t asked;
        sigemptyset(&asked);
        sigaddset(&asked, SIGUSR1);
        struct timespec tick = {0, rand_r(&seed) % 400000};
        if (sigtimedwait(&asked, 0, &tick) != SIGUSR1) {
            bury();
            shoot(&seed);
            continue;
        }
        questions++;
        compare_facts();
        atomic_store(&field->is_calm, 1);
        atomic_fetch_add(&field->round, 1);
        for (int i = 0; i < VICTIMS; i++) {
            struct victim *victim = &field->victims[i];
            expect(goes_on(victim), "process %d does not go on", victim->pid);
            expect(!victim->faults[0], "process %d: %s", victim->pid, victim->faults);
        }
        atomic_store(&field->is_calm, 0);
        verdict();
    }
}
