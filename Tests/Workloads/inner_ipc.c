// IPC namespaces of processes inside, with nothing in them: the container's objects are not to be seen from there, new ones
// get the ids that a new namespace gives, and sysctls stay as they were set.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "namespaces.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#define KEY 0x5ca1ab1e

static struct seat *maker, *child;
static int outer_set;
static bool is_parameter_set;

/// procfs shows and sets those of the namespace in which the file is opened.
static long parameter(void) {
    char text[40] = "";
    int file = open("/proc/sys/kernel/msgmax", O_RDONLY);
    expect(file >= 0 && read(file, text, sizeof text - 1) > 0, "no sysctl");
    close(file);
    return strtol(text, 0, 10);
}

static void leave(void) {
    must(unshare(CLONE_NEWIPC));
    int file = open("/proc/sys/kernel/msgmax", O_WRONLY);
    is_parameter_set = file >= 0 && write(file, "5432", 4) == 4;
    close(file);
}

static void check_inner(void) {
    expect(semget(KEY, 0, 0) < 0 && errno == ENOENT, "the container's semaphores are here");
    int queue = msgget(KEY, IPC_CREAT | IPC_EXCL | 0600);
    expect(queue >= 0, "no queue: %s", strerror(errno));
    expect(parameter() == (is_parameter_set ? 5432 : 8192), "msgmax is %ld", parameter());
    expect(queue < 0 || !msgctl(queue, IPC_RMID, 0), "the queue stays: %s", strerror(errno));
}

static void join(void) {
    join_namespace(maker->pid, "ipc");
    int file = open("/proc/sys/kernel/msgmax", O_WRONLY);
    is_parameter_set = file >= 0;
    close(file);
}

static void check(void) {
    expect(semctl(outer_set, 0, GETVAL) == 7, "the container's semaphore is lost");
    expect(semget(KEY, 0, 0) == outer_set, "it has another id");
    expect(parameter() == 8192, "the container's msgmax is %ld", parameter());
    expect(namespace_of(maker->pid, "ipc") != namespace_of(getpid(), "ipc"), "the maker is in the container's namespace");
    expect(namespace_of(maker->pid, "ipc") == namespace_of(child->pid, "ipc"), "one namespace has become two");
}

int main(void) {
    begin();
    outer_set = must(semget(KEY, 1, IPC_CREAT | 0600));
    must(semctl(outer_set, 0, SETVAL, 7));
    maker = hire(leave, check_inner);
    child = hire(join, check_inner);
    serve_checks(check);
}
