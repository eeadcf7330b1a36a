// Memory files: of any name, owner, mode and size, with holes, open more than once, with every seal, mapped at several places
// and by two processes, as code that is written at one address and run at another, without any descriptor, and as program.
// capabilities: CAP_CHOWN CAP_FOWNER
#include "workload.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8
#endif

enum { HOLE = 1 << 30, ODD = 5000 };

static const char odd_name[] = "a line\nand (deleted)/../\xc3\xa9\\ \"";
static int plain, reader, appender, place, odd, sparse, unsealable, owned, finished, opened_before, executable, locked_mode;
static char *halves, *tail, *copied, *orphan, *read_only, *still_writable, *not_any_more;
static unsigned char *written_code;
static int (*code)(void);
static int executable_seals;
static pid_t resident;
static int heartbeat, heartbeats;
static struct seat *child;
static char *child_half;

static int make(const char *name, unsigned flags) { return must(memfd_create(name, flags | MFD_CLOEXEC)); }

static int again(int file, int flags) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return must(open(path, flags | O_CLOEXEC));
}

static char *map(int file, size_t size, int protection, int flags, off_t offset) {
    return must(mmap(0, size, protection, flags, file, offset));
}

static int seals(int file) { return fcntl(file, F_GET_SEALS); }

static void expect_text(int file, const char *text, const char *what) {
    char bytes[40] = "";
    ssize_t length = pread(file, bytes, sizeof bytes - 1, 0);
    expect(length == (ssize_t)strlen(text) && !strcmp(bytes, text), "%s: `%s`, not `%s`", what, bytes, text);
}

static void map_half(void) { child_half = map(odd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE); }

/// The child has the second page of what the parent has mapped whole, and shares the position of its open file.
static void check_half(void) {
    expect(child_half[7] == (char)questions, "the child reads %d of its parent's memory", child_half[7]);
    child_half[8] = questions + 1;
    expect(lseek(plain, 0, SEEK_CUR) == questions, "the child's position is %ld", (long)lseek(plain, 0, SEEK_CUR));
    expect(orphan[1] == 'r', "the child has lost what has no descriptor");
}

static void beat(int signal) {
    (void)signal;
    if (write(heartbeat, "x", 1) != 1) _exit(1);
}

/// What runs from a memory file: it says that it is there, and once more whenever it is asked.
static void reside(const char *descriptor) {
    heartbeat = atoi(descriptor);
    signal(SIGUSR2, beat);
    beat(0);
    for (;;) pause();
}

static pid_t start_resident(void) {
    char bytes[4096], number[12];
    int file = make("program", 0), self = must(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), ends[2];
    for (ssize_t n; (n = must(read(self, bytes, sizeof bytes))) > 0;) must(write(file, bytes, n));
    close(self);
    must(pipe2(ends, O_CLOEXEC));
    pid_t pid = must(fork());
    if (!pid) {
        must(fcntl(ends[1], F_SETFD, 0));
        snprintf(number, sizeof number, "%d", ends[1]);
        fexecve(file, (char *[]){"program", number, 0}, environ);
        _exit(99);
    }
    close(file);
    close(ends[1]);
    heartbeats = ends[0];
    char beat;
    must(read(heartbeats, &beat, 1));
    return pid;
}

static void set_up(void) {
    plain = make("in memory", MFD_ALLOW_SEALING);
    must(write(plain, "content", 7));
    must(fcntl(plain, F_ADD_SEALS, F_SEAL_SHRINK));
    reader = again(plain, O_RDONLY);
    must(lseek(reader, 2, SEEK_SET));
    appender = again(plain, O_WRONLY | O_APPEND | O_NONBLOCK);
    place = again(plain, O_PATH);

    odd = make(odd_name, 0);
    must(ftruncate(odd, ODD));
    halves = map(odd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    halves[0] = 'a';
    halves[PAGE] = 'b';
    halves[ODD + 10] = 't';   // behind the end of the file, and in memory
    tail = map(odd, PAGE, PROT_READ, MAP_SHARED, PAGE);
    copied = map(odd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
    copied[PAGE + 1] = 'c';

    sparse = make("", 0);
    must(ftruncate(sparse, (off_t)HOLE * 1024));
    must(pwrite(sparse, "end", 3, HOLE));

    unsealable = make("unsealable", 0);
    owned = make("owned", MFD_ALLOW_SEALING);
    must(fchown(owned, 33, 44));
    must(fchmod(owned, 0640));

    finished = make("finished", MFD_ALLOW_SEALING);
    must(write(finished, "as it is", 8));
    must(fcntl(finished, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
    int source = again(finished, O_RDONLY);
    read_only = map(source, PAGE, PROT_READ, MAP_SHARED, 0);
    close(source);

    opened_before = make("until now", MFD_ALLOW_SEALING);
    must(ftruncate(opened_before, PAGE));
    still_writable = map(opened_before, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    strcpy(still_writable, "before");
    must(fcntl(opened_before, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    not_any_more = map(opened_before, PAGE, PROT_READ, MAP_SHARED, 0);

    executable = make("executable", MFD_ALLOW_SEALING);
    must(write(executable, "#!", 2));
    if (fcntl(executable, F_ADD_SEALS, F_SEAL_EXEC) && errno != EINVAL) give_up("F_SEAL_EXEC", __LINE__);
    executable_seals = seals(executable);
    locked_mode = memfd_create("locked mode", MFD_CLOEXEC | MFD_NOEXEC_SEAL);   // Linux 6.3

    int jit = make("jit", 0);
    must(ftruncate(jit, PAGE));
    written_code = (unsigned char *)map(jit, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    code = (int (*)(void))map(jit, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, 0);
    memcpy(written_code, "\xb8\x67\x45\x23\x01\xc3", 6);   // mov $0x1234567, %eax; ret
    close(jit);

    int without = make("without a descriptor", 0);
    must(ftruncate(without, PAGE));
    orphan = map(without, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    strcpy(orphan, "orphan");
    close(without);
}

static void check_seals(void) {
    expect(seals(plain) == F_SEAL_SHRINK && ftruncate(plain, 1) && errno == EPERM, "the plain one's seals: %x", seals(plain));
    expect(seals(unsealable) == F_SEAL_SEAL, "the seals of what cannot be sealed: %x", seals(unsealable));
    expect(seals(finished) == 0xf && write(finished, "x", 1) < 0 && errno == EPERM, "finished, with seals %x", seals(finished));
    expect(!strcmp(read_only, "as it is"), "what is finished reads `%.8s`", read_only);
    expect(mprotect(read_only, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES, "what is finished can be written");

    expect(seals(opened_before) == F_SEAL_FUTURE_WRITE, "seals on future writing: %x", seals(opened_before));
    expect(write(opened_before, "x", 1) < 0 && errno == EPERM, "it can be written");
    expect(mmap(0, PAGE, PROT_WRITE, MAP_SHARED, opened_before, 0) == MAP_FAILED, "it can be mapped to be written");
    expect(mprotect(not_any_more, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES, "the later mapping can be written");
    still_writable[6] = '0' + questions;
    expect(!strncmp(not_any_more, "before", 6) && not_any_more[6] == '0' + questions, "`%.7s` is seen", not_any_more);

    struct stat status;
    expect(seals(executable) == executable_seals, "of the executable one: %x, not %x", seals(executable), executable_seals);
    expect(!fstat(executable, &status) && status.st_mode == 0100777, "the executable one has mode %o", status.st_mode);
    if (locked_mode < 0) return;
    expect(seals(locked_mode) == F_SEAL_EXEC && !fstat(locked_mode, &status) && status.st_mode == 0100666,
           "of the one with a locked mode: %x, %o", seals(locked_mode), status.st_mode);
    expect(fchmod(locked_mode, 0777) && errno == EPERM, "the locked mode changes");
}

static void check_files(void) {
    char text[40];
    snprintf(text, sizeof text, "content%.*s", questions - 1, "xxxxxxxxxxxxxxxx");
    expect_text(plain, text, "the plain one");
    expect(write(appender, "x", 1) == 1, "cannot append");
    strcat(text, "x");
    expect_text(reader, text, "the reader's");
    expect(lseek(reader, 0, SEEK_CUR) == 2, "the reader is elsewhere");
    expect(write(reader, "x", 1) < 0 && errno == EBADF, "the reader writes");
    expect(fcntl(place, F_GETFL) & O_PATH && fcntl(plain, F_GETFD) == FD_CLOEXEC, "flags of descriptors");
    must(lseek(plain, questions, SEEK_SET));

    struct stat status;
    char end[4] = "";
    expect(!fstat(sparse, &status) && status.st_size == (off_t)HOLE * 1024 && status.st_blocks <= 16,
           "the sparse one: %ld bytes, %ld blocks", (long)status.st_size, (long)status.st_blocks);
    expect(pread(sparse, end, 3, HOLE) == 3 && !strcmp(end, "end"), "the sparse one has `%s`", end);
    expect(!fstat(owned, &status) && status.st_uid == 33 && status.st_gid == 44 && status.st_mode == 0100640 && !status.st_size,
           "owner %d:%d, mode %o", status.st_uid, status.st_gid, status.st_mode);
    expect(!fstat(odd, &status) && status.st_size == ODD, "the odd one has %ld bytes", (long)status.st_size);
}

static void check_mappings(void) {
    expect(halves[0] == 'a' && halves[PAGE] == 'b' && halves[PAGE + 1] == 0 && halves[ODD + 10] == 't', "the odd one");
    halves[PAGE + 7] = questions;
    expect(tail[7] == (char)questions && copied[PAGE + 7] == 0, "what is shared, and what is not");
    expect(copied[0] == 'a' && copied[PAGE + 1] == 'c', "the private mapping");
    char byte = 0;
    expect(pread(odd, &byte, 1, PAGE + 7) == 1 && byte == (char)questions, "mapping and file are two");
    expect(!strcmp(orphan, "orphan"), "what has no descriptor is `%.6s`", orphan);
    expect(code() == 0x1234567 + questions - 1, "code returns %x", code());
    ++*(unsigned *)(written_code + 1);
    expect(code() == 0x1234567 + questions, "code was written, and returns %x", code());
}

static void check_resident(void) {
    char byte, path[40], target[40] = "";
    expect(!kill(resident, SIGUSR2) && read(heartbeats, &byte, 1) == 1, "what runs from memory does not answer");
    snprintf(path, sizeof path, "/proc/%d/exe", resident);
    readlink(path, target, sizeof target - 1);
    expect(!strcmp(target, "/memfd:program (deleted)"), "it runs from %s", target);
}

int main(int count, char **arguments) {
    if (count > 1) reside(arguments[1]);
    begin();
    compared &= ~OFFSETS;
    set_up();
    resident = start_resident();
    child = hire(map_half, check_half);
    ready();
    for (;;) {
        await_question();
        check_files();
        check_seals();
        check_mappings();
        check_resident();
        ask_crew();
        expect(halves[PAGE + 8] == questions + 1, "the child's writing is not seen");
        answer();
    }
}
