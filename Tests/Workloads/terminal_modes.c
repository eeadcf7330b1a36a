// What binds a pseudoterminal: settings that nobody may change (TIOCSLCKTRMIOS), ends that nobody else may open (TIOCEXCL), each for
// itself; and one that nobody has opened yet, whose reader is not told that all have left.
// capabilities: CAP_SYS_ADMIN
#include "workload.h"
#include <sys/ioctl.h>
#include <poll.h>
#include <termios.h>

static int outer, inner, open_to_all, other_inner, unopened;
static bool may_lock;

static int make(void) {
    int made = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    must(unlockpt(made));
    return made;
}

static int inner_end(int outer) {
    char name[40];
    int number;
    must(ioctl(outer, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    return must(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

static bool is_exclusive(int end) {
    int value = -1;
    expect(!ioctl(end, TIOCGEXCL, &value), "TIOCGEXCL: %s", strerror(errno));
    return value;
}

int main(void) {
    begin();
    outer = make();
    inner = inner_end(outer);
    must(ioctl(inner, TIOCEXCL));
    struct termios settings, lock = {.c_lflag = ECHO | ICANON, .c_cc[VINTR] = 1};
    must(tcgetattr(inner, &settings));
    settings.c_cc[VINTR] = 'q';
    must(tcsetattr(inner, TCSANOW, &settings));
    may_lock = !ioctl(inner, TIOCSLCKTRMIOS, &lock);   // not in a user namespace
    if (!may_lock && errno != EPERM) give_up("TIOCSLCKTRMIOS", __LINE__);
    open_to_all = make();
    other_inner = inner_end(open_to_all);
    must(ioctl(open_to_all, TIOCEXCL));
    unopened = make();
    ready();
    for (;;) {
        await_question();
        expect(is_exclusive(inner) && !is_exclusive(outer), "the inner end is not exclusive, or the outer one is");
        expect(is_exclusive(open_to_all) && !is_exclusive(other_inner), "the outer end is not exclusive, or the inner one is");
        struct termios now, other;
        must(tcgetattr(inner, &now));
        other = now;
        other.c_lflag ^= ECHO | ICANON | ISIG;
        other.c_cc[VINTR] = 'x';
        must(tcsetattr(inner, TCSANOW, &other));
        must(tcgetattr(inner, &other));
        tcflag_t changed = may_lock ? ISIG : ECHO | ICANON | ISIG;
        expect((now.c_lflag ^ other.c_lflag) == changed, "modes %x have changed", now.c_lflag ^ other.c_lflag);
        expect(now.c_cc[VINTR] == 'q' && other.c_cc[VINTR] == (may_lock ? 'q' : 'x'), "a character has become %c", other.c_cc[VINTR]);
        must(tcsetattr(inner, TCSANOW, &now));
        struct pollfd news = {.fd = unopened, .events = POLLIN};
        char byte;
        expect(poll(&news, 1, 0) == 0, "news of what nobody has opened: %x", news.revents);
        expect(read(unopened, &byte, 1) < 0 && errno == EAGAIN, "all have left what nobody has opened: %s", strerror(errno));
        verdict();
    }
}
