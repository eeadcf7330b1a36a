// A packet socket whose frames come in a ring.
// refused: ring
// capabilities: CAP_NET_RAW
#include "workload.h"
#include <linux/if_packet.h>
#include <sys/socket.h>

int main(void) {
    begin();
    int one = must(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    struct tpacket_req ring = {.tp_block_size = 4096, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 4};
    must(setsockopt(one, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring));
    note("descriptor %d\n", one);
    ready();
    for (;;) {
        await_question();
        expect(setsockopt(one, SOL_PACKET, PACKET_RESERVE, &(int){8}, sizeof(int)) < 0 && errno == EBUSY, "the ring is gone");
        verdict();
    }
}
