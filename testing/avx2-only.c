/* Makes a process see a processor with AVX2 and nothing newer: no AVX-512, VNNI or AMX. Loaded by LD_PRELOAD, it makes
 * the CPUID instruction fault (Linux, arch_prctl(ARCH_CPUID_SET)) and emulates it in a SIGSEGV handler with those bits
 * cleared, so that libraries select their AVX2 kernels. Other faults go to the next handler, which is V8's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_CPUID_SET 0x1012
#define BIT(n) (1u << (n))

typedef int (*sigaction_function)(int, const struct sigaction *, struct sigaction *);

static sigaction_function libc_sigaction;
static struct sigaction next_handler;

static long set_cpuid_enabled(int enabled) { return syscall(SYS_arch_prctl, ARCH_CPUID_SET, enabled); }

static void hide_newer_than_avx2(uint32_t leaf, uint32_t subleaf, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
  if (leaf == 7 && subleaf == 0) {
    /* AVX-512 F, DQ, IFMA, PF, ER, CD, BW, VL */
    *b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
    /* AVX-512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
    *c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
    /* AVX-512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16; AMX BF16, TILE, INT8 */
    *d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));
  } else if (leaf == 7 && subleaf == 1) {
    *a &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23)); /* AVX-VNNI, AVX-512 BF16, AMX FP16, AVX-IFMA */
    *d &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19)); /* AVX-VNNI-INT8, NE-CONVERT, AMX COMPLEX, INT16, AVX10 */
  } else if (leaf == 0x1d || leaf == 0x1e || leaf == 0x24) {
    *a = *b = *c = *d = 0; /* AMX tiles, AVX10 */
  }
}

static void on_segv(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *instruction = (const uint8_t *)registers[REG_RIP];
  if (info->si_code == SI_KERNEL && instruction[0] == 0x0f && instruction[1] == 0xa2) {
    uint32_t leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a, b, c, d;
    set_cpuid_enabled(1);
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(subleaf));
    set_cpuid_enabled(0);
    hide_newer_than_avx2(leaf, subleaf, &a, &b, &c, &d);
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
  } else if (next_handler.sa_flags & SA_SIGINFO) {
    next_handler.sa_sigaction(signal, info, context);
  } else if (next_handler.sa_handler != SIG_DFL && next_handler.sa_handler != SIG_IGN) {
    next_handler.sa_handler(signal);
  } else {
    struct sigaction crash = {0};
    crash.sa_handler = SIG_DFL;
    libc_sigaction(SIGSEGV, &crash, NULL);
  }
}

/* Keeps on_segv installed; it calls the handler that another library installs. */
int sigaction(int signal, const struct sigaction *action, struct sigaction *previous) {
  if (!libc_sigaction) libc_sigaction = (sigaction_function)dlsym(RTLD_NEXT, "sigaction");
  if (signal != SIGSEGV) return libc_sigaction(signal, action, previous);
  if (previous) *previous = next_handler;
  if (action) next_handler = *action;
  return 0;
}

__attribute__((constructor)) static void start(void) {
  libc_sigaction = (sigaction_function)dlsym(RTLD_NEXT, "sigaction");
  struct sigaction action = {0};
  action.sa_sigaction = on_segv;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  libc_sigaction(SIGSEGV, &action, NULL);
  if (set_cpuid_enabled(0) != 0) {
    fputs("avx2-only: this processor or kernel cannot intercept CPUID\n", stderr);
    _exit(86);
  }
}
