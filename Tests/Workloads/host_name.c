// Host and domain name that the program has changed: facts.h compares them.
// capabilities: CAP_SYS_ADMIN
// seccomp: none
#include "workload.h"

int main(void) {
    begin();
    must(sethostname("changed.example", 15));
    must(setdomainname("inside", 6));
    serve_checks(0);
}
