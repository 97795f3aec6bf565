/* SPDX-License-Identifier: MIT */
/*
 * Runs a vCPU under vm/run.c, vm/dispatch.c, vm/clock.c and vm/pcpu.c, which are included here as
 * source, and replaces the functions that these files use. Around each access of these files to
 * data that an NMI handler changes (the VMCS, the requests, and fields that other CPUs write), the
 * test's run_point() is called, because an NMI may arrive there. Include it in one file.
 */
#pragma once

#include "tests/unit/ring0.h"

#define mmu_pauses pcpu_pauses /* support.c defines it as well */

#include "tests/unit/vmx/vmcs_world.h"

#include "arch/x86/cpu.h"
#include "vmx/attention.h"

static void run_point(void); /* supplied by the test */

#pragma GCC diagnostic ignored "-Wshadow" /* the macros are nested */
#define AROUND(access)                     \
    ({                                     \
        run_point();                       \
        __typeof__(access) found = access; \
        run_point();                       \
        found;                             \
    })
#define AROUND_VOID(access) (run_point(), access, run_point())

#undef vmread
#undef vmread_always
#undef vmwrite
#undef vmwrite_always
#define vmread(field)                AROUND(vmcs_get(field))
#define vmread_always(field)         AROUND(vmcs_get(field))
#define vmwrite(field, value)        AROUND_VOID(vmcs_put(field, value))
#define vmwrite_always(field, value) AROUND_VOID(vmcs_put(field, value))
#define attention_request(a, r)      AROUND_VOID(attention_request(a, r))
#define attention_clear(a, r)        AROUND_VOID(attention_clear(a, r))
#define attention_requested(a, r)    AROUND(attention_requested(a, r))
#define attention_pending(a)         AROUND(attention_pending(a))
#define rdtsc()                      AROUND(rdtsc())
#define __atomic_load_n(...)         AROUND(__atomic_load_n(__VA_ARGS__))
#define __atomic_exchange_n(...)     AROUND(__atomic_exchange_n(__VA_ARGS__))
#define __atomic_store_n(...)        AROUND_VOID(__atomic_store_n(__VA_ARGS__))
#undef READ_ONCE
#define READ_ONCE(x) AROUND(*(const volatile __typeof__(x) *)&(x))

#include "arch/x86/guarded.h"
#include "arch/x86/power.h"
#include "arch/x86/serial.h"
#include "ept/invalidate.h"
#include "mmio/fetch.h"
#include "mmio/flow.h"
#include "vm/exits.h"
#include "vm/io.h"

/* What XSETBV returns; if NULL, it accepts every value. */
static bool (*cpu_takes_xcr0)(uint64_t value);
#define xsetbv_safe(value) (!cpu_takes_xcr0 || cpu_takes_xcr0(value))

/* What the emulator makes of an EPT misconfiguration, and whether the instruction is an IRET. */
static struct {
    enum mmio_outcome outcome;
    bool is_iret;
} emulated;
#define mmio_misconfig(vcpu, gpa, delivering) \
    ((void)(vcpu), (void)(gpa), (void)(delivering), emulated.outcome)
#define mmio_at_iret(vcpu) ((void)(vcpu), emulated.is_iret)

#include "vm/clock.c"
#include "vm/dispatch.c"
#include "vm/last_exit.c"
#include "vm/pcpu.c"
#include "vm/run.c"

#define read_cr4() 0ull
#include "vmx/regs.c"

#include <string.h>

struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 1;
uint32_t mitigate_chosen;
struct sleepers sleepers[CPUS_MAX];
struct vmx_machine vmx;

static struct vm vm;
static struct vcpu *const vcpu = &vm.vcpu;

/* ---- The machine ----------------------------------------------------------------------------- */

static void ring0_halts(uint64_t *rip)
{
    (void)rip;
    fail_msg("it halts");
}

static void ring0_wrmsr(uint32_t msr, uint64_t value)
{
    fail_msg("WRMSR %#x = %#lx", msr, value);
}

static uint64_t ring0_rdmsr(uint32_t msr)
{
    fail_msg("RDMSR %#x", msr);
    return 0;
}

uint64_t tsc_khz(void)
{
    return 1000000;
}

void cpu_kick(unsigned number)
{
    fail_msg("CPU %u is kicked", number);
}

void kick_set_hook(void (*hook)(void))
{
    (void)hook;
}

bool td_exit(struct vcpu *v, uint32_t reason)
{
    (void)v, (void)reason;
    fail_msg("an exit of a VM that is no TD");
    return false;
}

/* The actions at the beginning and the end of a turn, as words in the order of their calls. */
static char did[256];
static void note(const char *what)
{
    strncat(did, what, sizeof(did) - strlen(did) - 1);
}

/* Another CPU that starts, on which this_cpu() is 0 as well. */
static bool starts, is_alike, has_same_flaws;

void cpu_give_work(unsigned number, void (*work)(void))
{
    assert_int_equal(number, 1);
    if (starts)
        work();
}

bool cpu_wait_work(unsigned number, unsigned milliseconds)
{
    assert_int_equal(number, 1);
    assert_true(milliseconds);
    return starts;
}

bool vmx_cpu_is_alike(void)
{
    note("alike ");
    return is_alike;
}

bool mitigate_is_alike(void)
{
    note("flaws ");
    return has_same_flaws;
}

void extra_state_enable(void)
{
    note("enable ");
}

void mitigate_start(void)
{
    note("mitigated ");
}

bool vmx_init_cpu(void)
{
    note("vmxon ");
    return true;
}

void mitigate_change_vm(void)
{
    note("mitigate ");
}

void mitigate_at_exit(void)
{
    note("IBRS ");
}

void invept(unsigned type, uint64_t eptp)
{
    (void)type, (void)eptp;
}

void invvpid(unsigned type, uint16_t vpid, gva_t address)
{
    (void)type, (void)vpid, (void)address;
    note("invvpid ");
}

static bool migrates;
bool vmx_load(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    note("load ");
    return migrates;
}

void vmx_unload(struct vmx_vcpu *half)
{
    assert_ptr_equal(half, &vcpu->vmx);
    note("unload ");
}

static const char *refusal; /* why this CPU refuses the state, or NULL */
const char *extra_state_load(struct extra_state *state)
{
    assert_ptr_equal(state, &vcpu->extra);
    note("registers ");
    return refusal;
}

void extra_state_save(struct extra_state *state)
{
    assert_ptr_equal(state, &vcpu->extra);
    note("save ");
}

/* ---- The scheduler and sleep ----------------------------------------------------------------- */

#define ANSWERS(name, answer) \
    bool name(void)           \
    {                         \
        return answer;        \
    }
ANSWERS(trace_send_piece, false)
ANSWERS(sched_waiting, false)
ANSWERS(sched_anyone_waits, false)
ANSWERS(sched_is_woken, false)
ANSWERS(sched_halts, true)

void regular_do(struct vcpu *v, uint64_t now)
{
    (void)v, (void)now;
}

int serial_read(void)
{
    return -1;
}

void machine_exit(enum exit_code code)
{
    fail_msg("exit %d", code);
    __builtin_unreachable();
}

void sched_idle(void)
{
    fail_msg("an idle CPU");
}

void sched_wake_one(void)
{
    fail_msg("an idle CPU");
}

void sched_busy(void)
{
}

void sleep_end(struct vcpu *v)
{
    (void)v;
}

void sleep_wake(uint64_t now)
{
    (void)now;
}

/* ---- The results of exits -------------------------------------------------------------------- */

static struct {
    unsigned handled; /* exit reason whose handler was called last */
    unsigned raised, requeued, skipped, updates;
    uint8_t vector;
    uint32_t error_code;
    bool is_nmi, is_reflected; /* results for the exit of an exception */
} seen;

void vmx_raise(struct vmx_vcpu *half, uint8_t vector, uint32_t error_code)
{
    (void)half;
    seen.raised++;
    seen.vector = vector;
    seen.error_code = error_code;
}

void vmx_requeue_event(struct vmx_vcpu *half)
{
    (void)half;
    seen.requeued++;
}

bool vmx_take_host_event(struct vmx_vcpu *half)
{
    (void)half;
    return seen.is_nmi;
}

void machine_check_end(const char *where)
{
    note(where);
    mock_assert(0, "the machine ends", __FILE__, __LINE__);
    __builtin_trap();
}

bool vmx_reflect_exception(struct vmx_vcpu *half)
{
    (void)half;
    return seen.is_reflected;
}

bool vmx_nmis_blocked(const struct vmx_vcpu *half)
{
    (void)half;
    return false;
}

void vmx_raise_trap(uint64_t pending)
{
    (void)pending;
}

void vmx_skip_instruction(struct vmx_vcpu *half)
{
    (void)half;
    seen.skipped++;
}

void cpuid_update(struct vcpu *v)
{
    (void)v;
    seen.updates++;
}

/* ---- Interrupts by the CPU ------------------------------------------------------------------- */

static unsigned syncs;

void apicv_sync(struct vcpu *vcpu)
{
    syncs++;
    vcpu->vmx.apicv.changed = false;
}

/* ---- Exits that are handled elsewhere -------------------------------------------------------- */

#define HANDLER(name, reason)        \
    void exit_##name(struct vcpu *v) \
    {                                \
        (void)v;                     \
        seen.handled = reason;       \
    }
HANDLER(cpuid, REASON_CPUID)
HANDLER(cr_access, REASON_CR_ACCESS)
HANDLER(invlpg, REASON_INVLPG)
HANDLER(invpcid, REASON_INVPCID)
HANDLER(mov_dr, REASON_MOV_DR)
HANDLER(rdmsr, REASON_RDMSR)
HANDLER(wrmsr, REASON_WRMSR)
HANDLER(task_switch, REASON_TASK_SWITCH)
HANDLER(vmcall, REASON_VMCALL)
HANDLER(virtualized_eoi, REASON_VIRTUALIZED_EOI)
HANDLER(apic_write, REASON_APIC_WRITE)

void ipi_send_frames(void *v)
{
    (void)v;
}

void ipi_send_legacy(struct vm *v, uint32_t bits)
{
    (void)v, (void)bits;
}

void triple_fault_end(struct vcpu *v)
{
    vm_end(v->vm, VM_ENDED_TRIPLE_FAULT, "explained");
    note("explain ");
}

static void (*call_piece)(struct vcpu *v); /* a piece of a hypercall */
void hypercall_go_on(struct vcpu *v)
{
    if (call_piece)
        call_piece(v);
}

void io_string(struct vcpu *v, uint64_t qualification)
{
    (void)v, (void)qualification;
}

void mmio_act_on(struct vcpu *v, enum mmio_outcome outcome)
{
    (void)v, (void)outcome;
}

static unsigned yields, takes;
void debugger_yield(struct vcpu *v)
{
    (void)v;
    assert_int_equal(yields++, takes);
    seen.handled = 0;
}

void debugger_take(struct vcpu *v)
{
    (void)v;
    assert_int_equal(++takes, yields);
    assert_int_equal(seen.handled, REASON_MOV_DR);
}

static unsigned compares;
void debugger_written(struct vcpu *v)
{
    assert_non_null(v->vm->debugger);
    compares++;
}

/* No other vCPU has a debugger here. */
#define NO_DEBUGGER(type, name)          \
    type debugger_##name(struct vcpu *v) \
    {                                    \
        (void)v;                         \
        fail_msg("a debugger");          \
        return (type)0;                  \
    }
NO_DEBUGGER(void, begin)
NO_DEBUGGER(void, end)
NO_DEBUGGER(bool, exception)
NO_DEBUGGER(void, step_exited)
NO_DEBUGGER(bool, step_prepare)
NO_DEBUGGER(void, step_arm)

void pass_open(struct vcpu *v, gpa_t gpa)
{
    (void)v, (void)gpa;
}

void pass_arm(struct vcpu *v)
{
    (void)v;
}

void pass_close(struct vcpu *v)
{
    (void)v;
}

void pass_exit(struct vcpu *v, uint32_t reason)
{
    (void)v, (void)reason;
}

int vmx_pml_init(struct vmx_vcpu *half)
{
    (void)half;
    return 0;
}

void vmx_pml_switch(struct vmx_vcpu *half, bool on)
{
    (void)half, (void)on;
}

size_t vmx_pml_take(struct vmx_vcpu *half, const uint64_t **entries)
{
    (void)half, (void)entries;
    return 0;
}

uint64_t vmx_poison(uint32_t reason)
{
    (void)reason;
    return 0;
}
