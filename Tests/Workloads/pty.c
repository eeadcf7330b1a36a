// Pseudoterminals: both ends and a shell-like child whose session one controls, with its foreground group, settings, size,
// packet mode, owner and /dev/tty; a second one between two processes of one session; one that is still locked; the
// numbers stay, and between them is a gap.
// capabilities: CAP_CHOWN CAP_FOWNER
#include "workload.h"
#include <sys/ioctl.h>
#include <termios.h>

struct terminal {
    int outer, index;
    char name[32];
};

static struct terminal shell, plain, locked;
static int inner, by_session;
static struct termios settings;
static struct seat *leader, *job;

static struct terminal make(bool unlock) {
    struct terminal made = {.outer = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC))};
    if (unlock) must(unlockpt(made.outer));
    must(ioctl(made.outer, TIOCGPTN, &made.index));
    snprintf(made.name, sizeof made.name, "/dev/pts/%d", made.index);
    return made;
}

/// Reads as many bytes as are expected; nobody waits for ever.
static void expect_text(int end, const char *text, const char *what) {
    char bytes[64] = "";
    size_t count = 0;
    bool came = within(5, ({
        int waiting = 0;
        if (!ioctl(end, FIONREAD, &waiting) && waiting > 0) {
            ssize_t got = read(end, bytes + count, sizeof bytes - 1 - count);
            if (got > 0) count += got;
        }
        count >= strlen(text);
    }));
    expect(came && !strcmp(bytes, text), "%s: `%s`, not `%s`", what, bytes, text);
}

static void enter_session(void) {
    must(setsid());
    inner = must(open(shell.name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(ioctl(inner, TIOCSCTTY, 0));
    by_session = must(open("/dev/tty", O_RDWR | O_CLOEXEC));
    signal(SIGTTOU, SIG_IGN);
    must(tcgetattr(inner, &settings));
    settings.c_lflag &= ~(ICANON | ECHO);
    settings.c_cc[VERASE] = 'x';
    must(tcsetattr(inner, TCSANOW, &settings));
    must(ioctl(inner, TIOCSWINSZ, &(struct winsize){.ws_row = 21, .ws_col = 99}));
    must(fchown(inner, 33, 44));
    must(fchmod(inner, 0640));
}

static void check_session(void) {
    struct termios now;
    struct winsize size = {0};
    struct stat is, at;
    expect(!tcgetattr(by_session, &now) && now.c_lflag == settings.c_lflag && now.c_oflag == settings.c_oflag &&
               !memcmp(now.c_cc, settings.c_cc, sizeof now.c_cc),
           "the settings have changed");
    expect(!ioctl(by_session, TIOCGWINSZ, &size) && size.ws_row == 21 && size.ws_col == 99, "the size is %d x %d",
           size.ws_row, size.ws_col);
    expect(tcgetsid(inner) == getpid(), "it controls session %d", tcgetsid(inner));
    expect(!fstat(inner, &is) && is.st_uid == 33 && is.st_gid == 44 && is.st_mode == (S_IFCHR | 0640), "owner %d:%d, mode %o",
           is.st_uid, is.st_gid, is.st_mode);
    expect(!stat(shell.name, &at) && at.st_rdev == is.st_rdev && at.st_ino == is.st_ino, "%s is another one", shell.name);
    expect(write(by_session, "out\n", 4) == 4, "cannot print: %s", strerror(errno));
}

static void enter_other(void) {
    inner = must(open(plain.name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    must(tcgetattr(inner, &settings));
    settings.c_lflag &= ~ECHO;
    must(tcsetattr(inner, TCSANOW, &settings));
}

static void check_other(void) {
    char bytes[8];
    expect(fcntl(inner, F_GETFL) & O_NONBLOCK, "a flag is gone");
    expect(read(inner, bytes, 8) < 0 && errno == EAGAIN, "there is input that nobody has typed");
    expect(tcgetsid(inner) < 0, "it controls a session");
    expect(write(inner, "printed", 7) == 7, "cannot print: %s", strerror(errno));
}

int main(void) {
    begin();
    plain = make(true);
    struct terminal gap = make(true);
    shell = make(true);
    locked = make(false);
    close(gap.outer);   // before anybody inherits it
    must(ioctl(shell.outer, TIOCPKT, &(int){1}));
    leader = hire(enter_session, check_session);
    // A foreground group of its own: the leader's child cannot be hired by the leader, so the group is the leader's.
    job = hire(enter_other, check_other);
    char rest[64];
    fcntl(shell.outer, F_SETFL, O_NONBLOCK);
    while (read(shell.outer, rest, sizeof rest) > 0) {}   // what packet mode tells of the settings
    fcntl(shell.outer, F_SETFL, 0);
    ready();
    for (;;) {
        await_question();
        int number = -1, packets = 0, is_locked = 0;
        expect(!ioctl(shell.outer, TIOCGPTN, &number) && number == shell.index, "number %d has become %d", shell.index, number);
        expect(!ioctl(plain.outer, TIOCGPTN, &number) && number == plain.index, "number %d has become %d", plain.index, number);
        expect(!ioctl(shell.outer, TIOCGPKT, &packets) && packets, "packet mode is off");
        expect(!ioctl(locked.outer, TIOCGPTLCK, &is_locked) && is_locked, "it is unlocked");
        expect(open(locked.name, O_RDWR | O_NOCTTY | O_CLOEXEC) < 0 && errno == EIO, "the locked one can be opened");
        pid_t group = 0;
        expect(!ioctl(shell.outer, TIOCGPGRP, &group) && group == leader->pid, "group %d is in the foreground", group);
        ask_crew();
        char bytes[16] = "";
        ssize_t count = read(shell.outer, bytes, sizeof bytes);
        expect(count == 6 && bytes[0] == TIOCPKT_DATA && !memcmp(bytes + 1, "out\r\n", 5), "the shell's output: %zd bytes", count);
        expect_text(plain.outer, "printed", "the other's output");
        answer();
    }
}
