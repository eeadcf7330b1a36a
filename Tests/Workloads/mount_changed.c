// What the program has done to mounts of config.json: made some stricter and one less strict, given a tmpfs other room, and
// taken some away, with files in one place that was hidden.
// tmpfs: /scratch
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "mounts.h"
#include <sys/statfs.h>

static bool mounted(const char *point) {
    char text[80];
    snprintf(text, sizeof text, " %s ", point);
    slurp("/proc/self/mountinfo");
    return strstr(slurped, text);
}

int main(void) {
    begin();
    put("/dev/shm/file", "kept");
    must(mount(0, "/dev/shm", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    must(mount(0, "/dev/pts", 0, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NOEXEC | MS_NOATIME, 0));
    must(mount(0, "/scratch", 0, MS_REMOUNT | MS_NOSUID, "size=2m"));
    put("/scratch/file", "scratch");
    if (!mounted("/proc/sys") || !mounted("/dev/mqueue")) give_up("config.json mounts other things", __LINE__);
    must(umount("/proc/sys")), must(umount("/dev/mqueue"));
    put("/dev/mqueue/file", "hidden");
    must(mount(0, "/proc/bus", 0, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    ready();
    for (;;) {
        await_question();
        struct statfs room;
        expect(!access("/dev/shm/file", R_OK), "the file on what was made read-only is gone");
        expect_refusal("/dev/shm/new", EROFS);
        expect(!statfs("/scratch", &room) && room.f_blocks * room.f_bsize == 2 << 20, "%ld blocks", (long)room.f_blocks);
        expect(!access("/scratch/file", R_OK), "the file on what was given other room is gone");
        expect(!mounted("/proc/sys") && !mounted("/dev/mqueue"), "what was taken away is there again");
        expect(!access("/dev/mqueue/file", R_OK), "the file in a place that was hidden is gone");
        // It belongs to nobody in a user namespace.
        expect(access("/proc/irq/default_smp_affinity", W_OK) < 0 && (errno == EROFS || errno == EACCES), "/proc/irq can be written to");
        verdict();
    }
}
