// The tree of processes: parents, groups, sessions, orphans, zombies, a stopped one, and a subreaper's foster child.
#include "workload.h"
#include <sys/prctl.h>

static struct seat *stopped, *grandchild, *reaper;
static pid_t exited, killed, dead_leader;

static void lead_group(void) { must(setpgid(0, 0)); }

static void lead_session(void) { must(setsid()); }

static void parent_of_two(void) {
    lead_group();
    hire(0, 0);            // in its parent's group
    hire(lead_group, 0);   // in one of its own
}

static void session_with_groups(void) {
    lead_session();
    hire(0, 0);
    hire(lead_group, 0);
}

static void depth_three(void) { grandchild = hire(0, 0); }
static void depth_two(void) { hire(depth_three, 0); }

/// A daemon: its session's leader, which was also its group's, is dead and gone.
static struct seat *daemon_of_dead_leader(void (*enter)(void), bool reaped) {
    int seat = atomic_load(&crew->count);
    pid_t leader = must(fork());
    if (!leader) {
        must(setsid());
        hire(enter, 0);
        _exit(3);
    }
    if (!within(10, atomic_load(&crew->seats[seat].present))) give_up("a daemon", __LINE__);
    siginfo_t info;
    must(waitid(P_PID, leader, &info, reaped ? WEXITED : WEXITED | WNOWAIT));   // its child has another parent now
    if (!reaped) dead_leader = leader;
    return &crew->seats[seat];
}

static void foster_parent(void) {
    must(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t between = must(fork());
    if (!between) {
        hire(0, 0);
        _exit(0);
    }
    must(waitpid(between, 0, 0));
}

static char state_of(pid_t pid) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return slurp(path) ? strrchr(slurped, ')')[2] : '-';
}

static void check_zombie(pid_t pid, int code, int status) {
    siginfo_t info = {0};
    expect(state_of(pid) == 'Z', "process %d is no zombie but %c", pid, state_of(pid));
    expect(!waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == pid, "zombie %d is no child", pid);
    expect(info.si_code == code && info.si_status == status, "zombie %d ended with code %d, status %d", pid, info.si_code, info.si_status);
}

int main(void) {
    begin();
    hire(parent_of_two, 0);
    hire(session_with_groups, 0);
    hire(depth_two, 0);
    struct seat *orphan = daemon_of_dead_leader(0, true);
    struct seat *zombies_child = daemon_of_dead_leader(lead_group, false);
    reaper = hire(foster_parent, 0);
    stopped = hire(0, 0);
    rehearse();   // the orphans have another parent now
    if (!(exited = must(fork()))) _exit(42);
    if (!(killed = must(fork()))) for (;;) pause();
    must(kill(killed, SIGKILL));
    must(kill(stopped->pid, SIGSTOP));
    siginfo_t info;
    must(waitid(P_PID, stopped->pid, &info, WSTOPPED | WNOWAIT));
    must(waitid(P_PID, exited, &info, WEXITED | WNOWAIT));
    must(waitid(P_PID, killed, &info, WEXITED | WNOWAIT));
    must(waitid(P_PID, dead_leader, &info, WEXITED | WNOWAIT));
    ready();
    for (;;) {
        await_question();
        check_zombie(exited, CLD_EXITED, 42);
        check_zombie(killed, CLD_KILLED, SIGKILL);
        check_zombie(dead_leader, CLD_EXITED, 3);
        expect(getsid(zombies_child->pid) == dead_leader, "the zombie leader's session is %d", getsid(zombies_child->pid));
        expect(getsid(orphan->pid) == getpgid(orphan->pid), "the orphan is in session %d, group %d", getsid(orphan->pid), getpgid(orphan->pid));
        // What was traced comes back to its stop on its own, a moment after the engine has let it go.
        expect(within(5, state_of(stopped->pid) == 'T'), "the stopped process is in state %c", state_of(stopped->pid));
        kill(stopped->pid, SIGCONT);
        ask_crew();   // each compares its parent, group and session with what they were
        kill(stopped->pid, SIGSTOP);
        expect(within(5, state_of(stopped->pid) == 'T'), "the process does not stop again");
        answer();
    }
}
