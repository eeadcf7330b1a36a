// A pseudoterminal into which something was typed that its reader does not get yet: less than it waits for (VMIN), of which poll(2)
// tells nobody.
// refused: typed
#include "workload.h"
#include <sys/ioctl.h>
#include <termios.h>

int main(void) {
    begin();
    int outer = must(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(grantpt(outer));
    must(unlockpt(outer));
    int inner = must(open(ptsname(outer), O_RDWR | O_NOCTTY | O_CLOEXEC)), waiting = 0;
    struct termios settings;
    must(tcgetattr(inner, &settings));
    settings.c_lflag &= ~(ICANON | ECHO);
    settings.c_cc[VMIN] = 3;
    must(tcsetattr(inner, TCSANOW, &settings));
    must(write(outer, "ab", 2));
    if (!within(5, !ioctl(inner, FIONREAD, &waiting) && waiting == 2)) give_up("what was typed", __LINE__);
    note("descriptor %d\n", inner);
    ready();
    for (;;) {
        await_question();
        char bytes[8];
        must(write(outer, "c", 1));
        expect(read(inner, bytes, 8) == 3 && !memcmp(bytes, "abc", 3), "what was typed is gone");
        must(write(outer, "ab", 2));
        expect(within(5, !ioctl(inner, FIONREAD, &waiting) && waiting == 2), "what was typed does not arrive");
        verdict();
    }
}
