// The container's own terminal: its settings, size, session and foreground group, descriptors of it by both names, and a
// reader that sleeps in it. What arrives goes back as "got ...".
#include "workload.h"
#include <sys/ioctl.h>
#include <termios.h>

static int by_name, by_session;
static struct seat *reader;

static void *echo(void *unused) {
    char bytes[64] = "got ";
    ssize_t count;
    while ((count = read(by_session, bytes + 4, sizeof bytes - 5)) > 0) {
        bytes[4 + count] = '\n';
        if (write(1, bytes, 5 + count) != 5 + count) break;
    }
    expect(false, "the reader ended: %s", strerror(errno));
    return unused;
}

static void enter_child(void) {
    must(setpgid(0, 0));
    signal(SIGTTOU, SIG_IGN);
    must(tcsetpgrp(0, getpid()));
    start_thread(echo, 0);
}

int main(void) {
    begin();
    by_name = must(open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    by_session = must(open("/dev/tty", O_RDWR | O_CLOEXEC));
    struct termios settings;
    must(tcgetattr(0, &settings));
    settings.c_lflag &= ~(ICANON | ECHO);
    settings.c_oflag &= ~OPOST;
    settings.c_cc[VMIN] = 3;
    settings.c_cc[VERASE] = 'x';
    must(tcsetattr(0, TCSANOW, &settings));
    must(ioctl(0, TIOCSWINSZ, &(struct winsize){.ws_row = 33, .ws_col = 77}));
    must(ioctl(0, TIOCEXCL));
    reader = hire(enter_child, 0);
    ready();
    for (;;) {
        await_question();
        struct termios now;
        struct winsize size = {0};
        expect(!tcgetattr(by_name, &now) && now.c_lflag == settings.c_lflag && now.c_oflag == settings.c_oflag && now.c_iflag == settings.c_iflag
               && now.c_cflag == settings.c_cflag && !memcmp(now.c_cc, settings.c_cc, sizeof now.c_cc), "the settings have changed");
        expect(!ioctl(2, TIOCGWINSZ, &size) && size.ws_row == 33 && size.ws_col == 77, "the size is %d x %d", size.ws_row, size.ws_col);
        expect(tcgetsid(0) == getsid(0), "the terminal controls session %d", tcgetsid(0));
        expect(tcgetpgrp(by_session) == reader->pid, "group %d is in the foreground, not %d", tcgetpgrp(by_session), reader->pid);
        for (int stream = 0; stream < 3; stream++) expect(!(fcntl(stream, F_GETFD) & FD_CLOEXEC), "stream %d closes at exec", stream);
        int exclusive = 0;
        expect(!ioctl(by_session, TIOCGEXCL, &exclusive) && exclusive, "the terminal is not exclusive any more");
        expect(isatty(0) && isatty(1) && isatty(2), "a standard stream is no terminal");
        expect(fcntl(by_name, F_GETFL) & O_NONBLOCK, "a flag is gone");
        expect(!(fcntl(0, F_GETFL) & O_NONBLOCK), "a flag has come");
        verdict();
    }
}
