// Two sockets that listen, and then a connection to the first: a hostile image gives both one name, spelt differently.
#include "workload.h"
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un names[] = {{AF_UNIX, "/state/sock"}, {AF_UNIX, "/state/mail"}};

int main(void) {
    begin();
    int listeners[2];
    for (int i = 0; i < 2; i++) {
        listeners[i] = must(socket(AF_UNIX, SOCK_STREAM, 0));
        must(bind(listeners[i], (struct sockaddr *)&names[i], sizeof names[i]));
        must(listen(listeners[i], 5));
    }
    int client = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(client, (struct sockaddr *)&names[0], sizeof names[0]));
    must(accept(listeners[0], 0, 0));
    serve_checks(0);
}
