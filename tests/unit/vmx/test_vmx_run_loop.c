/* SPDX-License-Identifier: MIT */
/*
 * The run loop (vmx/entry.S), which is executed here. Tested are the guest's registers at an entry
 * and after an exit, the registers that the caller gets back, and what each variant of the exit
 * does against speculation: it clears the registers before any other code runs, and makes 32 calls
 * before the first return to a caller from before the exit. Tested is also which actions choose
 * which variant (vmx/vcpu.c), and which exits are the host's own: machine checks (N126).
 */
#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"
#include "arch/x86/descriptors.h"

static uint64_t host_register(void)
{
    return 0;
}
#define read_cr0   host_register
#define read_cr3   host_register
#define read_cr4   host_register
#define rdmsr(msr) ((void)(msr), host_register())
#pragma GCC diagnostic ignored "-Wshadow" /* `vmcs` is a parameter there */
#include "vmx/vcpu.c"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

uint32_t mitigate_chosen;
struct cpu cpus[CPUS_MAX];
struct vmx_machine vmx;

hva_t idt_base(void)
{
    return (hva_t){0};
}

static struct vmx_vcpu vcpu;

/* ---- The CPU: VMX instructions, which user mode refuses -------------------------------------- */

/* Of a signal's context. The names of the system's header need _GNU_SOURCE, and some are ours. */
enum { R8, RDI = 8, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, EFLAGS };
static const int place[GPR_COUNT] = {RAX, RCX,    RDX,    RBX,    RSP,    RBP,    RSI,    RDI,
                                     R8,  R8 + 1, R8 + 2, R8 + 3, R8 + 4, R8 + 5, R8 + 6, R8 + 7};

#define ENTRIES 3u

static struct {
    const char *exit; /* the host's RIP in the VMCS */
    bool refused;     /* the entry itself fails */
    uint64_t rsp;     /* the host's, in the VMCS */
    unsigned rsp_writes;
    unsigned launches, resumes;
    uint64_t guest[ENTRIES][GPR_COUNT]; /* registers at each exit */
    uint64_t host[GPR_COUNT];           /* at the first instruction of vmx_exited() */
    unsigned exits, wrong;
    unsigned calls;      /* since the last return */
    unsigned calls_last; /* when the run loop returned */
    unsigned traps;      /* of these calls: whose return address leads nowhere */
    bool steps;
} cpu;

static uint32_t fails_with; /* the exit reason of an entry that fails after the checks, or 0 */

static uint64_t pattern(unsigned entry, unsigned gpr)
{
    return 0x1111111111111111ull * (entry + 1) ^ (uint64_t)gpr << 56 ^ 0xabc0ull;
}

/* The guest runs until it exits at once, with other registers. */
static void run_guest(greg_t *regs, unsigned entry)
{
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        if (i == GPR_RSP)
            continue;
        cpu.wrong += (uint64_t)regs[place[i]] != vcpu.regs.gpr[i];
        cpu.guest[entry][i] = pattern(entry, i);
        regs[place[i]] = (greg_t)cpu.guest[entry][i];
    }
    regs[RSP] = (greg_t)cpu.rsp;
    regs[RIP] = (greg_t)cpu.exit;
    regs[EFLAGS] &= ~(greg_t)0x8d5;
}

static void fault(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)regs[RIP];
    (void)info;
    if (!memcmp(code, "\x0f\x01\xc2", 3) || !memcmp(code, "\x0f\x01\xc3", 3)) {
        *(code[2] == 0xc2 ? &cpu.launches : &cpu.resumes) += 1;
        if (cpu.refused)
            regs[RIP] += 3;
        else
            run_guest(regs, cpu.launches + cpu.resumes - 1);
    } else if (!memcmp(code, "\x0f\x79", 2)) { /* VMWRITE RSP */
        cpu.rsp_writes++;
        cpu.rsp = (uint64_t)regs[RSP];
        cpu.wrong += regs[RAX] != VMCS_HOST_RSP;
        regs[RIP] += 3;
    } else {
        signal(number, SIG_DFL);
    }
}

/* Single steps. PAUSE; LFENCE; JMP back: there a mispredicted return stays. */
static void step(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)regs[RIP];
    (void)number, (void)info;
    if (code[0] == 0xe8) {
        cpu.calls++;
        cpu.traps += !memcmp(code + 5, "\xf3\x90\x0f\xae\xe8\xeb\xf9", 7);
    } else if (code[0] == 0xc3 || code[0] == 0xc2) {
        cpu.calls_last = cpu.calls;
        cpu.calls = 0;
    }
}

/* The registers are recorded before any other instruction is executed. */
uint64_t found[GPR_COUNT];
__asm__(".text\n"
        ".globl vmx_exited\n"
        "vmx_exited:\n"
        "    movq %rax, found(%rip)\n"
        "    movq %rcx, found+8(%rip)\n"
        "    movq %rdx, found+16(%rip)\n"
        "    movq %rbx, found+24(%rip)\n"
        "    movq %rbp, found+40(%rip)\n"
        "    movq %rsi, found+48(%rip)\n"
        "    movq %rdi, found+56(%rip)\n"
        "    movq %r8, found+64(%rip)\n"
        "    movq %r9, found+72(%rip)\n"
        "    movq %r10, found+80(%rip)\n"
        "    movq %r11, found+88(%rip)\n"
        "    movq %r12, found+96(%rip)\n"
        "    movq %r13, found+104(%rip)\n"
        "    movq %r14, found+112(%rip)\n"
        "    movq %r15, found+120(%rip)\n"
        "    jmp exited\n");

bool exited(struct vmx_vcpu *v);
bool exited(struct vmx_vcpu *v)
{
    cpu.wrong += v != &vcpu;
    memcpy(cpu.host, found, sizeof(found));
    for (unsigned i = 0; i < GPR_COUNT; i++) {
        if (i != GPR_RSP)
            cpu.wrong += vcpu.regs.gpr[i] != cpu.guest[cpu.exits][i];
        vcpu.regs.gpr[i] ^= 0xff00; /* as a handler may */
    }
    if (fails_with)
        vcpu.exit.reason = fails_with;
    vcpu.launched = true; /* as vmx_run() says afterwards; a VMLAUNCH is made once */
    if (++cpu.exits < ENTRIES)
        return true;
    if (cpu.steps) /* from here to the return of vmx_enter() */
        __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
    return false;
}

/* Returns true if RBX and R12 to R15, which belong to the caller, are unchanged. */
static bool enter(bool *result)
{
    uint64_t kept;
    bool entered;
    __asm__ volatile("movq $0x1234, %%rbx\n"
                     "movq $0x2345, %%r12\n"
                     "movq $0x3456, %%r13\n"
                     "movq $0x4567, %%r14\n"
                     "movq $0x5678, %%r15\n"
                     "movq %%rsp, %%rax\n"
                     "subq $0x110, %%rsp\n"
                     "andq $-16, %%rsp\n"
                     "movq %%rax, (%%rsp)\n"
                     "call vmx_enter\n"
                     "pushfq; andq $~0x100, (%%rsp); popfq\n"
                     "movq (%%rsp), %%rsp\n"
                     "xorq $0x1234, %%rbx\n"
                     "xorq $0x2345, %%r12\n"
                     "xorq $0x3456, %%r13\n"
                     "xorq $0x4567, %%r14\n"
                     "xorq $0x5678, %%r15\n"
                     "orq %%r12, %%rbx\n"
                     "orq %%r13, %%rbx\n"
                     "orq %%r14, %%rbx\n"
                     "orq %%r15, %%rbx\n"
                     : "=&b"(kept), "=a"(entered)
                     : "D"(&vcpu)
                     : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "cc", "memory");
    *result = entered;
    return !kept;
}

/* cmocka has handlers of its own, which it sets for each test. */
static void handle_signals(void)
{
    struct sigaction on_fault = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    struct sigaction on_step = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &on_fault, NULL);
    sigaction(SIGSEGV, &on_fault, NULL);
    sigaction(SIGTRAP, &on_step, NULL);
}

static void run(const char *exit, bool refused, bool steps)
{
    memset(&cpu, 0, sizeof(cpu));
    memset(&vcpu, 0, sizeof(vcpu));
    cpu.exit = exit;
    cpu.refused = refused;
    cpu.steps = steps;
    for (unsigned i = 0; i < GPR_COUNT; i++)
        vcpu.regs.gpr[i] = 0x7000 + i;
    handle_signals();
    bool entered;
    assert_true(enter(&entered));
    assert_int_equal(entered, !refused);
    assert_int_equal(cpu.wrong, 0);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static const char *const variants[] = {vmx_exit_entry, vmx_exit_entry_filled,
                                       vmx_exit_entry_cleared};

static void registers_come_and_go(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
        run(variants[i], false, false);
        assert_int_equal(cpu.launches, 1);
        assert_int_equal(cpu.resumes, ENTRIES - 1);
        assert_int_equal(cpu.exits, ENTRIES);
        assert_int_equal(cpu.rsp_writes, 1);
    }
}

/* The stack pointer is written to the VMCS only if it has changed. */
static void rsp_is_written_once(void **state)
{
    (void)state;
    run(vmx_exit_entry, false, false);
    uint64_t rsp = vcpu.host_rsp;
    assert_int_equal(rsp, cpu.rsp);
    cpu.exits = cpu.launches = cpu.resumes = cpu.rsp_writes = 0;
    bool entered;
    assert_true(enter(&entered));
    assert_int_equal(cpu.rsp_writes, vcpu.host_rsp != rsp);
    assert_int_equal(cpu.launches, 0);
    assert_int_equal(cpu.resumes, ENTRIES);
}

static void a_refused_entry(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
        run(variants[i], true, false);
        assert_int_equal(cpu.launches, 1);
        assert_int_equal(cpu.exits, 0);
    }
}

/* No register holds a value of the guest. RDI is the vCPU, and RBP the frame. */
static void registers_are_cleared(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
        run(variants[i], false, false);
        for (unsigned gpr = 0; gpr < GPR_COUNT; gpr++) {
            uint64_t guest = cpu.guest[ENTRIES - 1][gpr];
            if (gpr == GPR_RSP)
                continue;
            if (gpr == GPR_RDI || gpr == GPR_RBP)
                assert_int_not_equal(cpu.host[gpr], guest);
            else if (variants[i] == vmx_exit_entry_cleared)
                assert_int_equal(cpu.host[gpr], 0);
        }
    }
}

static void returns_are_overwritten(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(variants); i++) {
        bool fills = variants[i] != vmx_exit_entry;
        run(variants[i], false, true);
        assert_int_equal(cpu.calls_last, fills ? 32 : 0);
        assert_int_equal(cpu.traps, fills ? 32 : 0);
    }
}

static void actions_choose_the_variant(void **state)
{
    (void)state;
    for (uint32_t does = 0; does < 1u << 11; does++) {
        mitigate_chosen = does;
        vmcs_write_host_state();
        assert_int_equal(vmcs[VMCS_HOST_RIP], (uint64_t)variants[does & DO_CLEAR_GPRS ? 2
                                                                 : does & DO_RSB_FILL ? 1
                                                                                      : 0]);
    }
}

/* ---- Machine checks -------------------------------------------------------------------------- */

static jmp_buf machine_ends;
static bool ended;

NORETURN void vmx_machine_check(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu);
    ended = true;
    longjmp(machine_ends, 1);
}

static bool takes(unsigned type, unsigned vector)
{
    volatile bool taken = false;
    ended = false;
    vcpu.exit.reason = REASON_EXCEPTION_OR_NMI;
    vmcs[VMCS_EXIT_INTERRUPTION_INFO] = EVENT_INFO_VALID | type << 8 | vector;
    if (!setjmp(machine_ends))
        taken = vmx_take_host_event(&vcpu);
    return taken;
}

/* Only the exception with vector 18 ends the machine: no other type of event with that number, and
 * no other exception. */
static void a_machine_check_is_no_event_of_the_guest(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 8; type++)
        for (unsigned vector = 0; vector < 256; vector++) {
            if (type == EVENT_NMI) /* INT 2, which user mode refuses */
                continue;
            assert_false(takes(type, vector));
            assert_int_equal(ended, type == EVENT_EXCEPTION && vector == 18);
        }
}

static void they_exit_in_each_vm(void **state)
{
    (void)state;
    vcpu.vmcs = vcpu.msr_bitmap = HPA(0);
    vmcs_write_controls(&vcpu, 0, 0);
    assert_int_equal(vmcs[VMCS_EXCEPTION_BITMAP], BIT(1) | BIT(17) | BIT(18));
}

/* Reason 41 is no fault of the VMCS, so it ends the machine instead of the VM. */
static void so_does_one_at_an_entry(void **state)
{
    (void)state;
    run(vmx_exit_entry, false, false);
    vmx.maxphyaddr = 40;
    static const struct {
        uint32_t basic;
        bool ends;
    } rows[] = {{33, false}, {34, false}, {41, true}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        ended = false;
        fails_with = rows[i].basic | (uint32_t)EXIT_REASON_ENTRY_FAILED;
        vcpu.checked = true;
        volatile int result = 0;
        cpu.exits = cpu.launches = cpu.resumes = 0;
        if (!setjmp(machine_ends))
            result = vmx_run(&vcpu);
        assert_int_equal(ended, rows[i].ends);
        assert_int_equal(result, rows[i].ends ? 0 : -EINVAL);
    }
    fails_with = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_come_and_go),
        cmocka_unit_test(rsp_is_written_once),
        cmocka_unit_test(a_refused_entry),
        cmocka_unit_test(registers_are_cleared),
        cmocka_unit_test(returns_are_overwritten),
        cmocka_unit_test(actions_choose_the_variant),
        cmocka_unit_test(they_exit_in_each_vm),
        cmocka_unit_test(so_does_one_at_an_entry),
        cmocka_unit_test(a_machine_check_is_no_event_of_the_guest),
    };
    return cmocka_run_group_tests_name("the run loop", tests, NULL, NULL);
}
