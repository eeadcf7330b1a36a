// Floating point and vector registers, alive all the time: one thread stays out of the kernel, the others are mostly in it.
#include "workload.h"
#include <asm/prctl.h>
#include <cpuid.h>

enum { VECTORS, VECTORS_ASLEEP, CONTROL_ASLEEP, HOLDERS };
static atomic_long rounds[HOLDERS];
static int width = 16, registers = 16;   // what this processor has: SSE, AVX or AVX-512
static const struct timespec nap = {0, 1000000};

struct vectors { unsigned char bytes[32][64]; uint64_t masks[8]; } __attribute__((aligned(64)));

#define LOW(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define HIGH(op) op(16) op(17) op(18) op(19) op(20) op(21) op(22) op(23) op(24) op(25) op(26) op(27) op(28) op(29) op(30) op(31)
#define MASKS(op) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#define LOAD_ZMM(n) "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n"
#define STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n"
#define LOAD_MASK(n) "kmovq 2048+" #n "*8(%[in]), %%k" #n "\n"
#define STORE_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%[out])\n"
#define LOAD_YMM(n) "vmovdqu " #n "*64(%[in]), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%[out])\n"
#define LOAD_XMM(n) "movdqu " #n "*64(%[in]), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*64(%[out])\n"

/// `count` turns with the registers loaded; each naps in the kernel unless `number` is negative.
#define TURNS                                                                                                         \
    "1: testq %[number], %[number]\n js 2f\n movq %[number], %%rax\n movq %[nap], %%rdi\n xorl %%esi, %%esi\n syscall\n" \
    "2: pause\n decq %[count]\n jnz 1b\n"
#define HOLD(load, store)                                                                                             \
    __asm__ volatile(load TURNS store                                                                                 \
                     : [count] "+r"(count)                                                                            \
                     : [in] "r"(in), [out] "r"(out), [number] "r"(number), [nap] "r"(&nap)                            \
                     : "rax", "rcx", "rdi", "rsi", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",     \
                       "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static __attribute__((noinline)) void hold512(struct vectors *in, struct vectors *out, long count, long number) {
    HOLD(LOW(LOAD_ZMM) HIGH(LOAD_ZMM) MASKS(LOAD_MASK), LOW(STORE_ZMM) HIGH(STORE_ZMM) MASKS(STORE_MASK) "vzeroupper\n");
}
static __attribute__((noinline)) void hold256(struct vectors *in, struct vectors *out, long count, long number) {
    HOLD(LOW(LOAD_YMM), LOW(STORE_YMM) "vzeroupper\n");
}
static __attribute__((noinline)) void hold128(struct vectors *in, struct vectors *out, long count, long number) {
    HOLD(LOW(LOAD_XMM), LOW(STORE_XMM));
}

static void hold_vectors(long who, long count, long number) {
    struct vectors in, out;
    for (size_t i = 0; i < sizeof in; i++) ((unsigned char *)&in)[i] = i * 13 + i / 64 * 7 + who * 91 + atomic_load(&rounds[who]);
    memset(&out, 0, sizeof out);
    (width == 64 ? hold512 : width == 32 ? hold256 : hold128)(&in, &out, count, number);
    for (int i = 0; i < registers; i++)
        expect(!memcmp(in.bytes[i], out.bytes[i], width), "thread %ld: vector register %d changed", who, i);
    for (int i = 1; i < 8 && width == 64; i++)
        expect(in.masks[i] == out.masks[i], "thread %ld: mask register %d changed", who, i);
}

struct control { double stack[3]; unsigned vector; unsigned short control; };

/// SSE rounds towards zero and x87 upwards with 53 bits; three numbers stay on the x87 stack.
static __attribute__((noinline)) struct control hold_control(long count, long number) {
    struct control after = {0};
    unsigned vector = 0x7f80, usual_vector = 0x1f80;
    unsigned short control = 0x0a7f;
    __asm__ volatile(
        "ldmxcsr %[vector]\n fldcw %[control]\n fldpi\n fldln2\n fldl2e\n" TURNS
        "fstpl 16%[stack]\n fstpl 8%[stack]\n fstpl %[stack]\n"
        "stmxcsr %[vector_after]\n fnstcw %[control_after]\n ldmxcsr %[usual_vector]\n fninit\n"
        : [count] "+r"(count), [stack] "=o"(after.stack), [vector_after] "=m"(after.vector),
          [control_after] "=m"(after.control)
        : [number] "r"(number), [nap] "r"(&nap), [vector] "m"(vector), [control] "m"(control),
          [usual_vector] "m"(usual_vector)
        : "rax", "rcx", "rdi", "rsi", "r11", "memory", "cc");
    return after;
}

static void *hold(void *argument) {
    long who = (long)argument;
    static long marker = 0x5747a515;
    if (who == CONTROL_ASLEEP) syscall(SYS_arch_prctl, ARCH_SET_GS, &marker);
    struct control usual = hold_control(1, -1);
    for (;;) {
        if (who == VECTORS) hold_vectors(who, 2000000, -1);
        if (who == VECTORS_ASLEEP) hold_vectors(who, 20, SYS_nanosleep);
        if (who == CONTROL_ASLEEP) {
            struct control after = hold_control(20, SYS_nanosleep);
            long through_gs;
            __asm__ volatile("movq %%gs:0, %0" : "=r"(through_gs));
            expect(!memcmp(after.stack, usual.stack, sizeof usual.stack), "the x87 stack changed");
            expect((after.vector & 0xffc0) == 0x7f80, "mxcsr is %x", after.vector);
            expect(after.control == 0x0a7f, "the x87 control word is %x", after.control);
            expect(through_gs == marker, "the gs base changed");
        }
        atomic_fetch_add(&rounds[who], 1);
    }
    return 0;
}

int main(void) {
    begin();
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx")) width = 32;
    if (__builtin_cpu_supports("avx512bw")) width = 64, registers = 32;
    for (long who = 0; who < HOLDERS; who++) start_thread(hold, (void *)who);
    for (int who = 0; who < HOLDERS; who++)
        if (!within(5, atomic_load(&rounds[who]))) give_up("a round", __LINE__);
    note("vector width %d\n", width);
    ready();
    for (;;) {
        await_question();
        for (int who = 0; who < HOLDERS; who++) {
            long before = atomic_load(&rounds[who]);   // two more: one that was alive in the checkpoint, and a new one
            expect(within(5, atomic_load(&rounds[who]) >= before + 2), "thread %d stands still", who);
        }
        verdict();
    }
}
