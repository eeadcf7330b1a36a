// Processes that job control has stopped: one of five threads by SIGSTOP, one of a single thread by SIGTSTP. They stand
// still until SIGCONT comes, and then all their threads go on.
#include "workload.h"

enum { THREADS_EACH = 5 };
static struct stopped { pid_t pid; int signal, threads; atomic_long steps[THREADS_EACH]; } *all;

static void *step(void *steps) {
    for (;;) {
        atomic_fetch_add((atomic_long *)steps, 1);
        pause_ms(1);
    }
    return 0;
}

static void start(struct stopped *process, int signal, int threads) {
    process->signal = signal;
    process->threads = threads;
    pid_t pid = must(fork());
    if (pid) {
        process->pid = pid;
        return;
    }
    must(setpgid(0, 0));   // in the group of the first process, which nobody in its session watches over, SIGTSTP stops nobody
    for (int i = 1; i < threads; i++) start_thread(step, &process->steps[i]);
    step(&process->steps[0]);
}

static bool all_step(struct stopped *process) {
    long before[THREADS_EACH];
    for (int i = 0; i < process->threads; i++) before[i] = atomic_load(&process->steps[i]);
    for (int i = 0; i < process->threads; i++)
        if (!within(5, atomic_load(&process->steps[i]) > before[i])) return false;
    return true;
}

static bool is_stopped(struct stopped *process) {
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/task", process->pid);
    DIR *tasks = opendir(path);
    if (!tasks) return false;
    int count = 0;
    bool all = true;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.10s/stat", process->pid, task->d_name);
        count++;
        all &= slurp(path) && strrchr(slurped, ')')[2] == 'T';
    }
    closedir(tasks);
    return all && count == process->threads;
}

static void stop(struct stopped *process) {
    kill(process->pid, process->signal);
    expect(within(5, is_stopped(process)), "signal %d does not stop process %d", process->signal, process->pid);
}

static void check(struct stopped *process) {
    long before[THREADS_EACH];
    expect(within(5, is_stopped(process)), "process %d, stopped by signal %d, is not stopped any more", process->pid, process->signal);
    for (int i = 0; i < process->threads; i++) before[i] = atomic_load(&process->steps[i]);
    pause_ms(20);
    for (int i = 0; i < process->threads; i++)
        expect(atomic_load(&process->steps[i]) == before[i], "thread %d of stopped process %d goes on", i, process->pid);
    kill(process->pid, SIGCONT);
    expect(all_step(process), "process %d does not go on after SIGCONT", process->pid);
    stop(process);
}

int main(void) {
    begin();
    compared &= ~PENDING;   // SIGCHLD of what stops and goes on
    all = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    start(&all[0], SIGSTOP, THREADS_EACH);
    start(&all[1], SIGTSTP, 1);
    for (int i = 0; i < 2; i++) {
        if (!all_step(&all[i])) give_up("a process that runs", __LINE__);
        stop(&all[i]);
    }
    if (my_faults[0]) give_up(my_faults, __LINE__);
    ready();
    for (;;) {
        await_question();
        for (int i = 0; i < 2; i++) check(&all[i]);
        verdict();
    }
}
