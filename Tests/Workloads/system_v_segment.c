// System V shared memory: with a key and of 56 bytes, as PostgreSQL has it, attached by several processes, to read only, as
// code, in parts; by nobody; removed while it is attached; of another owner; with holes.
#include "workload.h"
#include <sys/ipc.h>
#include <sys/shm.h>

enum { KEY = 0x52e6a9, LARGE = 64 << 20 };

static int keyed, large, removed, successor, owned, parts, coded;
static char *header, *header_to_read, *meeting, *pieces;
static unsigned char *written_code;
static int (*code)(void);
static struct seat *child;
static struct shmid_ds known_state[6];

static char *attach(int segment, int flags) { return must((char *)shmat(segment, 0, flags)); }

static void check_child(void) {
    expect(!strcmp(header + 8, "postmaster"), "the child reads `%.12s`", header + 8);
    expect(meeting[0] == (char)questions, "the child reads %d where it meets its parent", meeting[0]);
    meeting[1] = questions + 1;
}

/// A segment whose id has another number in front of its place: others have had that before.
static int make(key_t key, size_t size, int mode) {
    for (int i = 0; i < 3; i++) must(shmctl(must(shmget(IPC_PRIVATE, PAGE, 0600)), IPC_RMID, 0));
    return must(shmget(key, size, mode | IPC_CREAT | IPC_EXCL));
}

static void look(int index, int segment, int attachments) {
    struct shmid_ds now;
    if (shmctl(segment, IPC_STAT, &now)) {
        expect(false, "segment %d: %s", segment, strerror(errno));
        return;
    }
    struct shmid_ds *then = &known_state[index];
    if (!then->shm_segsz) *then = now;
    struct ipc_perm *a = &then->shm_perm, *b = &now.shm_perm;
    expect(a->__key == b->__key && a->uid == b->uid && a->gid == b->gid && a->cuid == b->cuid && a->cgid == b->cgid
               && a->mode == b->mode && then->shm_segsz == now.shm_segsz,
           "segment %d: key %x, user %d, group %d, creator %d:%d, mode %o, %zu bytes", segment, b->__key, b->uid, b->gid,
           b->cuid, b->cgid, b->mode, now.shm_segsz);
    expect((int)now.shm_nattch == attachments, "segment %d is attached %d times", segment, (int)now.shm_nattch);
}

static void set_up(void) {
    keyed = make(KEY, 56, 0600);
    header = attach(keyed, 0);
    strcpy(header + 8, "postmaster");
    strcpy(header + 100, "behind the end");
    header_to_read = attach(keyed, SHM_RDONLY);

    large = make(IPC_PRIVATE, LARGE, 0600);
    char *ends = attach(large, 0);
    ends[0] = 'f';
    ends[LARGE - 1] = 'l';
    must(shmdt(ends));

    removed = make(KEY + 1, 2 * PAGE, 0600);
    meeting = attach(removed, 0);
    must(shmctl(removed, IPC_RMID, 0));
    successor = make(KEY + 1, PAGE, 0600);

    owned = make(IPC_PRIVATE, PAGE, 0600);
    struct shmid_ds state;
    must(shmctl(owned, IPC_STAT, &state));
    state.shm_perm.uid = 33;
    state.shm_perm.gid = 44;
    state.shm_perm.mode = 0440;
    must(shmctl(owned, IPC_SET, &state));

    parts = make(KEY + 2, 4 * PAGE, 0600);
    pieces = attach(parts, 0);
    for (int page = 0; page < 4; page++) pieces[page * PAGE] = 'a' + page;
    must(munmap(pieces + PAGE, PAGE));
    must(mprotect(pieces + 3 * PAGE, PAGE, PROT_READ));

    coded = make(IPC_PRIVATE, PAGE, 0700);
    written_code = (unsigned char *)attach(coded, 0);
    memcpy(written_code, "\xb8\x67\x45\x23\x01\xc3", 6);   // mov $0x1234567, %eax; ret
    code = (int (*)(void))attach(coded, SHM_RDONLY | SHM_EXEC);
}

static void check(void) {
    look(0, keyed, 4);
    look(1, large, 0);
    look(2, removed, 2);
    look(3, owned, 0);
    look(4, parts, 6);
    look(5, coded, 4);
    expect(shmget(KEY, 56, 0) == keyed, "the key leads to %d, not %d", shmget(KEY, 56, 0), keyed);
    expect(shmget(KEY + 1, 1, 0) == successor, "the key of the removed one leads to %d", shmget(KEY + 1, 1, 0));
    expect(known_state[2].shm_perm.mode & SHM_DEST && !known_state[2].shm_perm.__key, "the removed one is not");

    expect(!strcmp(header + 8, "postmaster") && !strcmp(header + 100, "behind the end"), "`%.12s`, `%.20s`", header + 8,
           header + 100);
    header[0] = questions;
    expect(header_to_read[0] == (char)questions, "two attachments are of two segments");
    expect(mprotect(header_to_read, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES, "what is to be read can be written");

    char *ends = shmat(large, 0, SHM_RDONLY);
    expect(ends[0] == 'f' && ends[LARGE - 1] == 'l' && !ends[LARGE / 2], "the large one is damaged");
    shmdt(ends);
    slurp("/proc/sysvipc/shm");
    char *rest, *line = strtok_r(slurped, "\n", &rest);
    for (; line; line = strtok_r(0, "\n", &rest)) {
        int id = 0;
        unsigned long resident = 0;
        if (sscanf(line, "%*s %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu", &id, &resident) == 2 && id == large)
            expect(resident <= 4 << 20, "the holes take %lu bytes", resident);
    }

    expect(pieces[0] == 'a' && pieces[2 * PAGE] == 'c' && pieces[3 * PAGE] == 'd', "the parts are damaged");
    expect(!mprotect(pieces + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE), "the last part cannot be written");
    pieces[3 * PAGE + 1] = questions;
    expect(!mprotect(pieces + 3 * PAGE, PAGE, PROT_READ), "mprotect");
    expect(code() == 0x1234567 + questions - 1, "code returns %x", code());
    ++*(unsigned *)(written_code + 1);
    expect(code() == 0x1234567 + questions, "code was written, and returns %x", code());
    meeting[0] = questions;
}

int main(void) {
    begin();
    set_up();
    child = hire(0, check_child);
    ready();
    for (;;) {
        await_question();
        check();
        ask_crew();
        expect(meeting[1] == questions + 1, "the child's writing is not seen");
        answer();
    }
}
