// File systems of the kernel's that the program has mounted: proc, sysfs, mqueue, devpts, and a cgroup's, with their options.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "workload.h"
#include <mqueue.h>
#include <sys/mount.h>

int main(void) {
    begin();
    static const char *const places[] = {"/state/proc", "/state/sys", "/state/queues", "/state/pts"};
    for (size_t i = 0; i < COUNT(places); i++) must(mkdir(places[i], 0755));
    must(mount("p", "/state/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=invisible,subset=pid"));
    must(mount("s", "/state/sys", "sysfs", MS_RDONLY | MS_NOSUID, 0));
    must(mount("q", "/state/queues", "mqueue", MS_NOEXEC, 0));
    must(mount("d", "/state/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666,max=7"));
    must(mount("over", "/state/proc", "proc", 0, 0));   // over another one
    mqd_t queue = must(mq_open("/queue", O_RDWR | O_CREAT | O_CLOEXEC, 0600, 0));
    int pid = must(open("/state/proc/self/status", O_RDONLY | O_CLOEXEC));
    close(pid);
    ready();
    for (;;) {
        await_question();
        expect(!access("/state/proc/1/status", R_OK) && !access("/state/proc/meminfo", R_OK), "the upper /proc is another");
        expect(!umount("/state/proc"), "the upper one: %s", strerror(errno));
        expect(!access("/state/proc/1/status", R_OK) && access("/state/proc/meminfo", R_OK) < 0, "the lower /proc is another");
        must(mount("over", "/state/proc", "proc", 0, 0));
        expect(!access("/state/sys/class/net/lo", F_OK), "/sys has no lo");
        expect(!access("/state/queues/queue", F_OK), "the queue is not there");
        int master = open("/state/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        expect(master >= 0 && !access("/state/pts/0", F_OK), "no terminal comes of it: %s", strerror(errno));
        close(master);
        struct mq_attr attributes;
        expect(!mq_getattr(queue, &attributes), "the queue is closed");
        verdict();
    }
}
