/* SPDX-License-Identifier: MIT */
/* Running one instruction on the host; see the header. */
#include "tests/unit/mmio/native.h"

#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STATE     0x40020000ull /* struct native_state; numbers below are its offsets */
#define CODE_PAGE NATIVE_CS
#define LEAVE_64  0x40030a00ull

/* Far pointers for the way into narrow code. */
#define WAY_IN 0x40020fe0ull

#define CS_64  0x33
#define CS_32  0x23
#define DS_32  0x2b
#define LDT(n) ((n) << 3 | 7)

const struct native_mode native_modes[3] = {
    {16, LDT(0), LDT(1), NATIVE_CS, NATIVE_BASE},
    {32, CS_32, DS_32, 0, 0},
    {64, CS_64, 0, 0, 0},
};

/* clang-format off */
#define LOAD_YMM(n)  "vmovdqu 0x40020088+32*" #n ", %ymm" #n "\n\t"
#define SAVE_YMM(n)  "vmovdqu %ymm" #n ", 0x40020088+32*" #n "\n\t"
#define LOAD_XMM(n)  "movdqu 0x40020088+32*" #n ", %xmm" #n "\n\t"
#define SAVE_XMM(n)  "movdqu %xmm" #n ", 0x40020088+32*" #n "\n\t"
#define LOAD_MM(n)   "movq 0x40020288+8*" #n ", %mm" #n "\n\t"
#define SAVE_MM(n)   "movq %mm" #n ", 0x40020288+8*" #n "\n\t"
#define EACH_MM(m)   m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7)
#define EACH(m)      m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) \
                     m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)

/* The second half of the page is a stack for the flags, and has the host's RSP at its end. */
#define ENTER(each)                                             \
    "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\t"      \
    "push %r14\n\tpush %r15\n\tmov %rsp, 0x40020ff8\n\t"        \
    each EACH_MM(LOAD_MM)                                       \
    "mov $0x40020f00, %esp\n\tpushq 0x40020080\n\tpopfq\n\t"    \
    "mov 0x40020000, %rax\n\tmov 0x40020008, %rcx\n\t"          \
    "mov 0x40020010, %rdx\n\tmov 0x40020018, %rbx\n\t"          \
    "mov 0x40020020, %rsp\n\tmov 0x40020028, %rbp\n\t"          \
    "mov 0x40020030, %rsi\n\tmov 0x40020038, %rdi\n\t"          \
    "mov 0x40020040, %r8\n\tmov 0x40020048, %r9\n\t"            \
    "mov 0x40020050, %r10\n\tmov 0x40020058, %r11\n\t"          \
    "mov 0x40020060, %r12\n\tmov 0x40020068, %r13\n\t"          \
    "mov 0x40020070, %r14\n\tmov 0x40020078, %r15\n\t"
#define LEAVE(each)                                             \
    "mov %rax, 0x40020000\n\tmov %rcx, 0x40020008\n\t"          \
    "mov %rdx, 0x40020010\n\tmov %rbx, 0x40020018\n\t"          \
    "mov %rsp, 0x40020020\n\tmov %rbp, 0x40020028\n\t"          \
    "mov %rsi, 0x40020030\n\tmov %rdi, 0x40020038\n\t"          \
    "mov %r8, 0x40020040\n\tmov %r9, 0x40020048\n\t"            \
    "mov %r10, 0x40020050\n\tmov %r11, 0x40020058\n\t"          \
    "mov %r12, 0x40020060\n\tmov %r13, 0x40020068\n\t"          \
    "mov %r14, 0x40020070\n\tmov %r15, 0x40020078\n\t"          \
    "mov $0x40020f00, %esp\n\tpushfq\n\tpopq 0x40020080\n\tcld\n\t" \
    each EACH_MM(SAVE_MM) "emms\n\t"                            \
    "mov 0x40020ff8, %rsp\n\t"                                  \
    "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\t"          \
    "pop %rbp\n\tpop %rbx\n\tret\n\t"

__asm__(".pushsection .rodata\n"
        "native_enter_ymm: " ENTER(EACH(LOAD_YMM)) "native_enter_ymm_end:\n"
        "native_leave_ymm: " LEAVE(EACH(SAVE_YMM) "vzeroupper\n\t") "native_leave_ymm_end:\n"
        "native_enter_xmm: " ENTER(EACH(LOAD_XMM)) "native_enter_xmm_end:\n"
        "native_leave_xmm: " LEAVE(EACH(SAVE_XMM)) "native_leave_xmm_end:\n"
        ".popsection");
/* clang-format on */

extern const uint8_t native_enter_ymm[], native_enter_ymm_end[];
extern const uint8_t native_leave_ymm[], native_leave_ymm_end[];
extern const uint8_t native_enter_xmm[], native_enter_xmm_end[];
extern const uint8_t native_leave_xmm[], native_leave_xmm_end[];

static uint8_t *entry, *narrow_entry;
static bool has_16;
static sigjmp_buf fault_return;

static void map(uint64_t address, size_t size, int protection)
{
    void *wanted = (void *)(uintptr_t)address;
    if (mmap(wanted, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        wanted) {
        perror("native: mmap");
        exit(1);
    }
}

static void on_fault(int signal)
{
    siglongjmp(fault_return, signal);
}

static void catch_faults(void)
{
    static uint8_t stack[65536];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    const struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaltstack(&alternate, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGILL, &action, NULL);
}

/* Segments of 16-bit code and data, in our own descriptor table. */
static bool make_segments(void)
{
    const struct user_desc code = {
        .entry_number = 0, .base_addr = NATIVE_CS, .limit = 0xffff, .contents = 2, .useable = 1};
    const struct user_desc data = {
        .entry_number = 1, .base_addr = NATIVE_BASE, .limit = 0xffff, .useable = 1};
    return syscall(SYS_modify_ldt, 1, &code, sizeof(code)) == 0 &&
           syscall(SYS_modify_ldt, 1, &data, sizeof(data)) == 0;
}

bool native_has(const struct native_mode *mode)
{
    return mode->bits != 16 || has_16;
}

bool native_init(void)
{
    static const uint8_t far_jump[] = {0xff, 0x2c, 0x25, 0xe0, 0x0f, 0x02, 0x40}; /* to *WAY_IN */
    bool avx = __builtin_cpu_supports("avx2");
    const uint8_t *enter = avx ? native_enter_ymm : native_enter_xmm;
    const uint8_t *leave = avx ? native_leave_ymm : native_leave_xmm;
    size_t enter_size = (size_t)((avx ? native_enter_ymm_end : native_enter_xmm_end) - enter);
    size_t leave_size = (size_t)((avx ? native_leave_ymm_end : native_leave_xmm_end) - leave);
    if (entry)
        return avx;
    map(NATIVE_BASE, NATIVE_PAGES * 4096, PROT_READ | PROT_WRITE);
    map(STATE, 4096, PROT_READ | PROT_WRITE);
    map(CODE_PAGE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    has_16 = make_segments();
    entry = (uint8_t *)(uintptr_t)(NATIVE_CODE - enter_size);
    narrow_entry = (uint8_t *)(uintptr_t)CODE_PAGE;
    memcpy(entry, enter, enter_size);
    memcpy(narrow_entry, enter, enter_size);
    memcpy(narrow_entry + enter_size, far_jump, sizeof(far_jump));
    memcpy((void *)(uintptr_t)LEAVE_64, leave, leave_size);
    return avx;
}

/* The code at NATIVE_AFTER, and after the instruction, which returns to 64-bit code. Returns
 * its size. */
static unsigned put_way_out(const struct native_mode *mode, uint64_t at)
{
    uint8_t *to = (uint8_t *)(uintptr_t)at;
    unsigned size = 0;
    if (mode->bits == 64) {
        int32_t distance = (int32_t)(LEAVE_64 - (at + 5));
        to[0] = 0xe9;
        memcpy(to + 1, &distance, 4);
        return 5;
    }
    if (mode->bits == 16)
        to[size++] = 0x66;
    to[size++] = 0xea;
    const uint32_t offset = (uint32_t)LEAVE_64;
    const uint16_t selector = CS_64;
    memcpy(to + size, &offset, 4);
    memcpy(to + size + 4, &selector, 2);
    return size + 6;
}

static void set_data_segments(uint16_t selector)
{
    __asm__ volatile("mov %w0, %%ds\n\tmov %w0, %%es" : : "r"((unsigned)selector) : "memory");
}

unsigned native_run(const struct native_mode *mode, const void *code, unsigned size,
                    struct native_state *state)
{
    const uint32_t offset = (uint32_t)(NATIVE_CODE - mode->cs_base);
    memcpy((void *)(uintptr_t)NATIVE_CODE, code, size);
    put_way_out(mode, NATIVE_CODE + size);
    put_way_out(mode, NATIVE_AFTER);
    memcpy((void *)(uintptr_t)WAY_IN, &offset, 4);
    memcpy((void *)(uintptr_t)(WAY_IN + 4), &mode->cs, 2);
    catch_faults(); /* cmocka has its own, from test to test */
    struct native_state *live = (struct native_state *)(uintptr_t)STATE;
    *live = *state;
    live->rflags |= 0x202;
    int signal = sigsetjmp(fault_return, 1);
    if (signal) {
        __asm__ volatile("cld");
        set_data_segments(0);
        return signal == SIGFPE ? 0x100 : signal == SIGILL ? 6 : 13;
    }
    set_data_segments(mode->ds);
    ((void (*)(void))(uintptr_t)(mode->bits == 64 ? entry : narrow_entry))();
    set_data_segments(0);
    *state = *live;
    return 0;
}
