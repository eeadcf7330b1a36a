// tmpfs mounts that the program has made: with options, content, an open and mapped file and a socket's name; one in another,
// over a file; one that became read-only; one over another. What they hide is there when they are taken away.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "mounts.h"
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>

static struct sockaddr_un name = {AF_UNIX, "/state/memory/socket"};
static int file, listener;
static char *mapped;

static void mount_inner(void) {
    must(mount("inner", "/state/memory/inner", "tmpfs", MS_NOEXEC | MS_NOATIME, "size=64k"));
    put("/state/memory/inner/seen", "above");
}

static void mount_upper(void) {
    must(mount("upper", "/state/twice", "tmpfs", MS_STRICTATIME, "mode=0711"));
    put("/state/twice/upper", "upper");
}

int main(void) {
    begin();
    umask(0);
    for (int i = 0; i < 3; i++) must(mkdir((const char *[]){"/state/memory", "/state/locked", "/state/twice"}[i], 0755));
    must(mount("some memory", "/state/memory", "tmpfs", MS_NOSUID | MS_NODEV, "size=3m,nr_inodes=24,mode=0750,gid=8"));
    must(mkdir("/state/memory/deep", 0701)), must(mkdir("/state/memory/inner", 0755));
    file = must(open("/state/memory/deep/file", O_RDWR | O_CREAT | O_CLOEXEC, 0640));
    must(pwrite(file, "first", 5, 0)), must(pwrite(file, "behind a hole", 13, 1 << 20));
    mapped = must(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    must(link("/state/memory/deep/file", "/state/memory/twin"));
    must(symlink("deep/file", "/state/memory/link"));
    listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(bind(listener, (struct sockaddr *)&name, sizeof name)), must(listen(listener, 5));
    put("/state/memory/inner/hidden", "beneath");
    mount_inner();
    must(mount("locked", "/state/locked", "tmpfs", 0, 0));
    put("/state/locked/file", "kept");
    must(mount(0, "/state/locked", 0, MS_REMOUNT | MS_RDONLY, 0));
    must(mount("lower", "/state/twice", "tmpfs", MS_NODIRATIME, 0));
    put("/state/twice/lower", "lower");
    mount_upper();
    must(chdir("/state/memory/deep"));
    ready();
    for (;;) {
        await_question();
        struct stat is, twin;
        struct statfs room;
        char bytes[16] = "";
        expect(!stat("/state/memory", &is) && is.st_mode == (S_IFDIR | 0750) && is.st_gid == 8, "the top has mode %o, group %d", is.st_mode, is.st_gid);
        expect(!statfs("/state/memory", &room) && room.f_blocks * room.f_bsize == 3 << 20 && room.f_files == 24, "%ld blocks, %ld files", (long)room.f_blocks, (long)room.f_files);
        expect(!stat("file", &is) && !stat("/state/memory/twin", &twin) && is.st_ino == twin.st_ino && is.st_dev == twin.st_dev, "the hard link is gone");
        expect(pread(file, bytes, 13, 1 << 20) == 13 && !memcmp(bytes, "behind a hole", 13), "the open file has `%.13s`", bytes);
        mapped[6] = '0' + questions % 10;
        int again = open("/state/memory/link", O_RDONLY | O_CLOEXEC);
        expect(pread(again, bytes, 7, 0) == 7 && !memcmp(bytes, "first", 5) && bytes[6] == mapped[6], "the mapping is of another file");
        close(again);
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted = -1;
        expect(!connect(client, (struct sockaddr *)&name, sizeof name) && (accepted = accept4(listener, 0, 0, SOCK_CLOEXEC)) >= 0, "nobody listens at the socket's name");
        close(client), close(accepted);
        expect_text("/state/memory/inner/seen", "above");
        expect(!umount("/state/memory/inner"), "the inner one: %s", strerror(errno));
        expect_text("/state/memory/inner/hidden", "beneath");
        expect(access("/state/memory/inner/seen", F_OK) < 0, "what was in the inner one is beneath it");
        mount_inner();
        expect_text("/state/locked/file", "kept");
        expect(open("/state/locked/new", O_WRONLY | O_CREAT, 0600) < 0 && errno == EROFS, "what was read-only can be written to");
        expect_text("/state/twice/upper", "upper");
        expect(access("/state/twice/lower", F_OK) < 0, "what was hidden can be seen");
        expect(!umount("/state/twice"), "the upper one: %s", strerror(errno));
        expect_text("/state/twice/lower", "lower");
        mount_upper();
        verdict();
    }
}
