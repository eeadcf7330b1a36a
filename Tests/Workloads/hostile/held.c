// Holds what a hostile image makes something else of: a file, a socket with a name, a port. And it reads the kernel's
// addresses, which nobody but a process with CAP_SYSLOG may see.
#include "workload.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un name = {AF_UNIX, "/state/sock"};

int main(int count, char **arguments) {
    begin();
    const char *path = count > 1 ? arguments[1] : "/state/log";
    must(open(path, O_RDONLY | O_CREAT, 0600));
    int listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (struct sockaddr *)&name, sizeof name));
    must(listen(listener, 5));
    struct sockaddr_in port = {.sin_family = AF_INET, .sin_port = htons(15036)};
    int server = must(socket(AF_INET, SOCK_STREAM, 0));
    must(bind(server, (struct sockaddr *)&port, sizeof port));
    must(listen(server, 5));
    int symbols = must(open("/proc/kallsyms", O_RDONLY));
    ready();
    for (;;) {
        await_question();
        char address[17] = "";
        expect(pread(symbols, address, 16, 0) == 16, "no addresses: %s", strerror(errno));
        expect(!strcmp(address, "0000000000000000"), "the kernel's addresses are told: %s", address);
        verdict();
    }
}
