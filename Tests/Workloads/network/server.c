// A server for peers outside of the container: at port 4001 it sends 256 MiB to whoever connects, at port 4002 it says again
// what it hears. `peer.py` is the other end.
// checkpoint: --tcp-established
#include "workload.h"
#include <arpa/inet.h>
#include <sys/socket.h>

static char pattern[251 * 512];
static atomic_int failures, last_error;

static void fail(int error) {
    atomic_store(&last_error, error);
    atomic_fetch_add(&failures, 1);
}

static void *send_all(void *argument) {
    int peer = (int)(long)argument;
    size_t total = 256UL << 20;
    for (size_t sent = 0; sent < total;) {
        size_t at = sent % 251, part = sizeof pattern - at;
        ssize_t count = send(peer, pattern + at, part < total - sent ? part : total - sent, MSG_NOSIGNAL);
        if (count < 0) {
            fail(errno);
            break;
        }
        sent += count;
    }
    close(peer);
    return 0;
}

static void *say_again(void *argument) {
    int peer = (int)(long)argument;
    char bytes[4096];
    for (ssize_t count; (count = recv(peer, bytes, sizeof bytes, 0)) != 0;) {
        if (count > 0 && send(peer, bytes, count, MSG_NOSIGNAL) == count) continue;
        fail(errno);
        break;
    }
    close(peer);
    return 0;
}

struct service { int socket; void *(*serve)(void *); };

static void *accept_all(void *argument) {
    struct service *service = argument;
    for (;;) {
        int peer = accept4(service->socket, 0, 0, SOCK_CLOEXEC);
        pthread_t thread;
        if (peer < 0 || pthread_create(&thread, 0, service->serve, (void *)(long)peer)) fail(errno);
        else pthread_detach(thread);
    }
    return 0;
}

static void start(int port, void *(*serve)(void *)) {
    struct service *service = malloc(sizeof *service);
    struct sockaddr_in6 any = {AF_INET6, htons(port), 0, IN6ADDR_ANY_INIT, 0};
    *service = (struct service){must(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)), serve};
    must(bind(service->socket, (struct sockaddr *)&any, sizeof any));
    must(listen(service->socket, 100));
    start_thread(accept_all, service);
}

int main(void) {
    compared = 0;   // Peers come and go.
    begin();
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i % 251;
    start(4001, send_all);
    start(4002, say_again);
    ready();
    for (;;) {
        await_question();
        expect(!failures, "%d calls failed: %s", failures, strerror(last_error));
        answer();
    }
}
