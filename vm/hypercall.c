/* SPDX-License-Identifier: MIT */
/* VMCALL: the control hypercalls of guest/abi.h (decision D12). The guest chooses every argument,
 * so none is trusted. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/abi.h"
#include "vm/counters.h"
#include "vm/clock.h"
#include "vm/exits.h"
#include "vm/ghci.h"
#include "vm/hypercall.h"
#include "vm/td_exit.h"
#include "vm/td_memory.h"
#include "vm/trace.h"
#include "vm/vm.h"
#include "lib/errno.h"
#include "lib/trace.h"
#include "mmu/memslot.h"
#include "mmu/spte.h"
#include "vmx/vmcs.h"

static int64_t call_nop(struct vcpu *vcpu, struct call *call)
{
    (void)vcpu, (void)call;
    return 0;
}

static int64_t call_version(struct vcpu *vcpu, struct call *call)
{
    (void)vcpu;
    call->rbx = ABI_VERSION;
    return 0;
}

/* Begins a change of the slots, or continues the vCPU's unfinished one. */
static int call_change_slots(struct vcpu *vcpu, const struct mmu_change *wanted)
{
    if (!vcpu->unfinished)
        vcpu->change = *wanted;
    int result = mmu_change(&vcpu->vm->mmu, &vcpu->change);
    if (unlikely(vcpu->vm->debugger) && !result)
        debugger_remapped(vcpu);
    return result;
}

/* The walk of a hypercall that visits many pages: a new one, or that of the unfinished call. */
static struct mmu_walk *call_walk(struct vcpu *vcpu)
{
    if (!vcpu->unfinished)
        vcpu->walk = (struct mmu_walk){0};
    return &vcpu->walk;
}

#define FEW_PAGES 64u /* HC_ZAP zaps up to this number of pages in one piece */

static int64_t call_slot_add(struct vcpu *vcpu, struct call *call)
{
    if (call->rbx >= GUEST_RAM_SLOT || call->rsi & ~(uint64_t)(SLOT_READONLY | SLOT_SHARED))
        return -EINVAL;
    const struct mmu_change wanted = {
        .kind = CHANGE_ADD,
        .id = (uint32_t)call->rbx,
        .gpa = GPA(call->rcx),
        .pages = call->rdx,
        .flags = (uint32_t)((call->rsi & SLOT_READONLY ? MEMSLOT_READONLY : 0) |
                            (call->rsi & SLOT_SHARED ? MEMSLOT_SHARED : 0))};
    return call_change_slots(vcpu, &wanted);
}

static int64_t call_slot_delete(struct vcpu *vcpu, struct call *call)
{
    if (call->rbx >= GUEST_RAM_SLOT)
        return -EINVAL;
    const struct mmu_change wanted = {.kind = CHANGE_DELETE, .id = (uint32_t)call->rbx};
    return call_change_slots(vcpu, &wanted);
}

static int64_t call_slot_move(struct vcpu *vcpu, struct call *call)
{
    if (call->rbx >= GUEST_RAM_SLOT)
        return -EINVAL;
    const struct mmu_change wanted = {
        .kind = CHANGE_MOVE, .id = (uint32_t)call->rbx, .gpa = GPA(call->rcx)};
    return call_change_slots(vcpu, &wanted);
}

static int64_t call_slot_flags(struct vcpu *vcpu, struct call *call)
{
    if (call->rcx & ~(uint64_t)(SLOT_READONLY | SLOT_LOG_DIRTY))
        return -EINVAL;
    const struct mmu_change wanted = {
        .kind = CHANGE_FLAGS,
        .id = (uint32_t)call->rbx,
        .flags = (uint32_t)((call->rcx & SLOT_READONLY ? MEMSLOT_READONLY : 0) |
                            (call->rcx & SLOT_LOG_DIRTY ? MEMSLOT_LOG_DIRTY : 0))};
    return call_change_slots(vcpu, &wanted);
}

static int64_t call_dirty_get(struct vcpu *vcpu, struct call *call)
{
    return mmu_dirty_get(&vcpu->vm->mmu, (uint32_t)call->rbx, call->rcx, &call->rbx, 1);
}

static int64_t call_track(struct vcpu *vcpu, struct call *call)
{
    return mmu_track(&vcpu->vm->mmu, GPA(call->rbx));
}

static int64_t call_untrack(struct vcpu *vcpu, struct call *call)
{
    int result = mmu_untrack(&vcpu->vm->mmu, GPA(call->rbx));
    if (unlikely(vcpu->vm->debugger) && !result)
        debugger_remapped(vcpu);
    return result;
}

static int64_t call_host_remap(struct vcpu *vcpu, struct call *call)
{
    const struct mmu_change wanted = {.kind = CHANGE_REMAP, .gpa = GPA(call->rbx)};
    return call_change_slots(vcpu, &wanted);
}

static int64_t call_age(struct vcpu *vcpu, struct call *call)
{
    uint64_t end = memslot_gfn_end(&vcpu->vm->mmu), first = call->rbx >> PAGE_SHIFT;
    if (first >= end || call->rcx > end - first)
        return -ERANGE;
    int error = mmu_age_some(&vcpu->vm->mmu, GPA(call->rbx), call->rcx, call_walk(vcpu));
    if (!error)
        call->rbx = vcpu->walk.count;
    return error;
}

static int64_t call_nx_recover(struct vcpu *vcpu, struct call *call)
{
    struct mmu *mmu = &vcpu->vm->mmu;
    struct mmu_walk *walk = call_walk(vcpu);
    if (!walk->begun)
        mmu_nx_begin(mmu);
    walk->begun = true;
    while (mmu_nx_recovers(mmu)) {
        walk->count += mmu_nx_piece(mmu);
        if (mmu_pauses())
            return -EINPROGRESS;
    }
    call->rbx = walk->count;
    return 0;
}

static int64_t call_trace(struct vcpu *vcpu, struct call *call)
{
    int64_t result = trace_choose_bits(vcpu->vm, call->rbx);
    if (result < 0)
        return result;
    call->rbx = (uint64_t)result;
    return 0;
}

static int64_t call_generation_get(struct vcpu *vcpu, struct call *call)
{
    call->rbx = mmu_slot_generation(&vcpu->vm->mmu);
    return 0;
}

static int64_t call_generation_set(struct vcpu *vcpu, struct call *call)
{
    return mmu_set_generation(&vcpu->vm->mmu, call->rbx);
}

static int64_t call_zap(struct vcpu *vcpu, struct call *call)
{
    struct mmu *mmu = &vcpu->vm->mmu;
    if (call->rcx <= FEW_PAGES)
        return mmu_zap(mmu, GPA(call->rbx), call->rcx);
    return mmu_zap_some(mmu, GPA(call->rbx), call->rcx, call_walk(vcpu));
}

static int64_t call_spte(struct vcpu *vcpu, struct call *call)
{
    unsigned level;
    call->rbx = mmu_spte(&vcpu->vm->mmu, GPA(call->rbx), &level);
    call->rcx = level;
    return 0;
}

static int64_t call_counter(struct vcpu *vcpu, struct call *call)
{
    uint64_t counters[COUNTER_COUNT];
    uint64_t which = call->rbx;

    if (which == COUNTER_POISON_TICKS) { /* read around each sample: must cost little */
        call->rbx = vcpu->poison_ticks;
    } else if (which < COUNTER_COUNT) {
        counters_read(vcpu, counters);
        call->rbx = counters[which];
    } else if (which >= COUNTER_EXIT(0) && which < COUNTER_EXIT(REASON_COUNT)) {
        call->rbx = vcpu->exits[which - COUNTER_EXIT(0)];
    } else if (which >= COUNTER_TRACE(0) && which < COUNTER_TRACE(TRACE_EVENT_COUNT)) {
        call->rbx = vcpu->traced[which - COUNTER_TRACE(0)];
    } else if (which > COUNTER_INVEPT_FOR(0) && which < COUNTER_INVEPT_FOR(DEBT_REASONS)) {
        call->rbx =
            mmu_invept_for(&vcpu->vm->mmu, (enum debt_reason)(which - COUNTER_INVEPT_FOR(0)));
    } else {
        return -EINVAL;
    }
    return 0;
}

static int64_t call_config(struct vcpu *vcpu, struct call *call)
{
    const uint64_t values[] = {
        [CONFIG_MMIO_CACHING] = mmu_config()->mmio_caching,
        [CONFIG_GVA_CACHE] = vcpu->mmio.cache.mode,
        [CONFIG_AD] = mmu_config()->ad,
        [CONFIG_HUGE] = mmu_config()->huge,
        [CONFIG_GEN_BITS] = SPTE_GENERATION_BITS,
        [CONFIG_NX_HUGE] = mmu_config()->nx_huge,
        [CONFIG_PML] = mmu_config()->pml,
        [CONFIG_NX_RECOVERY_MS] = vcpu->vm->nx_recovery,
        [CONFIG_TSC_KHZ] = tsc_khz(),
        [CONFIG_VE] = !vcpu->ve_area    ? 0
                      : vcpu->ve_by_cpu ? 2
                                        : 1,
    };
    if (call->rbx >= ARRAY_SIZE(values))
        return -EINVAL;
    call->rbx = values[call->rbx];
    return 0;
}

/* RBX is an event in the format of the VM-entry interruption information. Interrupts, NMIs and
 * hardware exceptions are allowed, in a form that the checks at VM entry accept. */
static int64_t call_inject(struct vcpu *vcpu, struct call *call)
{
    uint32_t info = (uint32_t)call->rbx;
    struct event event = event_decode(info, (uint32_t)call->rcx, 0);

    if (call->rbx &
            ~(EVENT_INFO_VALID | EVENT_INFO_ERROR_CODE | EVENT_INFO_TYPE | EVENT_INFO_VECTOR) ||
        !event.valid)
        return -EINVAL;
    if (event.type == EVENT_EXCEPTION) {
        if (event.vector > 31 || event.vector == VECTOR_NMI)
            return -EINVAL;
        event = event_exception(event.vector, (uint32_t)call->rcx);
    } else if (event.has_error || !((event.type == EVENT_NMI && event.vector == VECTOR_NMI) ||
                                    (event.type == EVENT_INTERRUPT && event.vector > 31))) {
        return -EINVAL;
    }
    if (call->rdx) {
        vcpu_delay(vcpu, &event, call->rdx);
        return 0;
    }
    vcpu_pend(vcpu, &event);
    return 0;
}

/* The label is in the registers, as many of their bytes as are not zero, so that code of any mode
 * gives it in the same way. */
static void call_begin_map(struct vcpu *vcpu, const struct call *call)
{
    const uint64_t words[CALL_ARGUMENTS] = {call->rbx, call->rcx, call->rdx, call->rsi};
    char label[sizeof(words) + 1];
    size_t used = 0;
    for (unsigned i = 0; i < sizeof(words); i++) {
        char c = (char)(words[i / 8] >> i % 8 * 8);
        if (c)
            label[used++] = c;
    }
    label[used] = 0;
    map_begin(&vcpu->map, MAP_ASKED, rdtsc() * 1000 / tsc_khz(), label);
}

static int64_t call_map(struct vcpu *vcpu, struct call *call)
{
    if (!map_is_wanted())
        return 0;
    if (!vcpu->unfinished) {
        if (__atomic_fetch_add(&vcpu->vm->pictures, 1, __ATOMIC_RELAXED) >= MAP_PICTURES)
            return -ENOSPC;
        call_begin_map(vcpu, call);
    }
    return map_export(&vcpu->map, vcpu->vm) == MAP_OVER ? 0 : -EINPROGRESS;
}

static const struct {
    int64_t (*function)(struct vcpu *vcpu, struct call *call);
    bool for_all; /* allowed without `testctl` */
    /* The width, 32 or more, of the arguments in RBX, RCX, RDX and RSI; 0: 64 bits. A wider value
     * is -EINVAL. */
    uint8_t bits[CALL_ARGUMENTS];
} calls[] = {
    [HC_NOP] = {.function = call_nop, .for_all = true},
    [HC_VERSION] = {.function = call_version, .for_all = true},
    [HC_SLOT_ADD] = {.function = call_slot_add, .bits = {32, 0, 0, 32}},
    [HC_SLOT_DELETE] = {.function = call_slot_delete, .bits = {32}},
    [HC_SLOT_MOVE] = {.function = call_slot_move, .bits = {32}},
    [HC_GENERATION_GET] = {.function = call_generation_get},
    [HC_GENERATION_SET] = {.function = call_generation_set},
    [HC_ZAP] = {.function = call_zap},
    [HC_COUNTER] = {.function = call_counter},
    [HC_SPTE] = {.function = call_spte},
    [HC_INJECT] = {.function = call_inject, .bits = {32, 32}},
    [HC_CONFIG] = {.function = call_config},
    [HC_SLOT_FLAGS] = {.function = call_slot_flags, .bits = {32, 32}},
    [HC_DIRTY_GET] = {.function = call_dirty_get, .bits = {32}},
    [HC_TRACK] = {.function = call_track},
    [HC_UNTRACK] = {.function = call_untrack},
    [HC_HOST_REMAP] = {.function = call_host_remap},
    [HC_AGE] = {.function = call_age},
    [HC_NX_RECOVER] = {.function = call_nx_recover},
    [HC_TRACE] = {.function = call_trace},
    [HC_MAP] = {.function = call_map},
    [HC_DOORBELL_ADD] = {.function = call_doorbell_add, .bits = {0, 32, 0, 32}},
    [HC_DOORBELL_REMOVE] = {.function = call_doorbell_remove},
    [HC_DOORBELL_RINGS] = {.function = call_doorbell_rings},
    [HC_WINDOW] = {.function = call_window},
};

static bool call_arguments_fit(const struct call *call, const uint8_t bits[CALL_ARGUMENTS])
{
    const uint64_t values[CALL_ARGUMENTS] = {call->rbx, call->rcx, call->rdx, call->rsi};
    if (likely(!((call->rbx | call->rcx | call->rdx | call->rsi) >> 32)))
        return true;
    for (unsigned i = 0; i < CALL_ARGUMENTS; i++)
        if (bits[i] && values[i] >> bits[i])
            return false;
    return true;
}

/* Returns true if something waits that a long call must not delay: a kick, the end of the VM,
 * another vCPU's turn, or an event for the guest. */
static bool call_is_interrupted(void *context)
{
    struct vcpu *vcpu = context;
    return attention_requested(&vcpu->vmx.attention, ATTENTION_KICK | ATTENTION_ENDED) ||
           rdtsc() >= vcpu->next_event || vmx_wakes(&vcpu->vmx);
}

static int64_t convert_of_td(void *context, gpa_t gpa, uint64_t pages, bool shared)
{
    struct vcpu *vcpu = context;
    return td_convert(vcpu->vm, gpa, pages, shared);
}

static uint64_t leaves_of_td(void *context, uint64_t *gpr)
{
    return td_vmcall(context, gpr);
}

static const struct ghci_td ghci_td = {.more = leaves_of_td, .convert = convert_of_td};

static ALWAYS_INLINE bool call_ghci(struct vcpu *vcpu, const struct ghci_td *td)
{
    const struct ghci ghci = {.gpr = vcpu->vmx.regs.gpr,
                              .replay = &vcpu->ghci,
                              .mmu = vcpu->mmio.mmu,
                              .bus = vcpu->mmio.mmio_bus,
                              .vcpu = &vcpu->mmio,
                              .interrupted = call_is_interrupted,
                              .td = td,
                              .context = vcpu};
    return ghci_call(&ghci);
}

/* Returns false if the call has to be executed again; the registers still hold its arguments. */
static ALWAYS_INLINE bool call_execute(struct vcpu *vcpu, uint64_t index, uint64_t mask)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    struct call call = {gpr[GPR_RBX] & mask, gpr[GPR_RCX] & mask, gpr[GPR_RDX] & mask,
                        gpr[GPR_RSI] & mask};
    struct call before = call;
    int64_t result =
        call_arguments_fit(&call, calls[index].bits) ? calls[index].function(vcpu, &call) : -EINVAL;
    if (result == -EINPROGRESS)
        return false;
    gpr[GPR_RAX] = (uint64_t)result & mask;
    if (mmu_has_chores(&vcpu->vm->mmu))
        attention_request(&vcpu->vmx.attention, ATTENTION_CHORES);
    if (call.rbx != before.rbx)
        gpr[GPR_RBX] = call.rbx & mask;
    if (call.rcx != before.rcx)
        gpr[GPR_RCX] = call.rcx & mask;
    return true;
}

static bool is_ghci(const struct vcpu *vcpu)
{
    return !vcpu->vmx.regs.gpr[GPR_RAX] && mmu_has_sides(vcpu->mmio.mmu) && vmx_in_64_bit_code();
}

static uint64_t call_mask(void)
{
    return vmx_in_64_bit_code() ? ~0ull : 0xffffffff;
}

/* RIP already points to the next instruction, and no event is delivered before the call is
 * complete: the guest sees one instruction that takes long. */
static void call_leave_unfinished(struct vcpu *vcpu)
{
    vcpu->unfinished = true;
    attention_request(&vcpu->vmx.attention, ATTENTION_CHORES);
}

COLD void hypercall_go_on(struct vcpu *vcpu)
{
    uint64_t mask = call_mask(), index = (vcpu->vmx.regs.gpr[GPR_RAX] & mask) ^ ABI_HYPERCALL;
    vcpu->unfinished = !(is_ghci(vcpu) ? call_ghci(vcpu, vcpu->td ? &ghci_td : NULL)
                                       : call_execute(vcpu, index, mask));
}

#define KVM_ERROR_NO_CALL (-1000ll) /* -KVM_ENOSYS of <linux/kvm_para.h> */

static COLD void call_by_number(struct vcpu *vcpu)
{
    uint64_t *gpr = vcpu->vmx.regs.gpr;
    uint64_t mask = call_mask();
    uint64_t number = gpr[GPR_RAX] & mask, index = number ^ ABI_HYPERCALL;

    if (index >= ARRAY_SIZE(calls) || !calls[index].function) {
        if (vcpu->vm->words.unknown_vmcall == UNKNOWN_VMCALL_ERROR) {
            vmx_skip(&vcpu->vmx, REASON_VMCALL);
            gpr[GPR_RAX] = (uint64_t)KVM_ERROR_NO_CALL & mask;
            return;
        }
        vcpu_end(vcpu, VM_ENDED_UNKNOWN_HYPERCALL,
                 "VMCALL with RAX = %#lx at RIP %#lx: no such hypercall; docs/ABI.md lists them, "
                 "and CPUID leaf 0x40000000 tells under which hypervisor a guest runs",
                 number, cpu_reg(&vcpu->vmx.regs, REG_RIP));
        return;
    }
    vmx_skip(&vcpu->vmx, REASON_VMCALL);
    if (!calls[index].for_all && !vcpu->vm->words.testctl)
        gpr[GPR_RAX] = (uint64_t)(int64_t)-ENOSYS & mask;
    else if (!call_execute(vcpu, index, mask))
        call_leave_unfinished(vcpu);
}

/* A register as the VMM sees it. */
static uint64_t exposed(const uint64_t *gpr, unsigned reg)
{
    return gpr[GPR_RCX] >> reg & 1 ? gpr[reg] : 0;
}

void hypercall_of_td(struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->vmx.regs.gpr;
    const uint64_t leaf = exposed(gpr, GPR_R11), r12 = exposed(gpr, GPR_R12);
    const uint64_t r13 = exposed(gpr, GPR_R13), r14 = exposed(gpr, GPR_R14);
    if (unlikely(!call_ghci(vcpu, &ghci_td)))
        call_leave_unfinished(vcpu);
    trace(tdvmcall, leaf, r12, r13, r14, exposed(gpr, GPR_R10), exposed(gpr, GPR_R11));
}

static NOINLINE void call_in_ghci_layout(struct vcpu *vcpu)
{
    vmx_skip(&vcpu->vmx, REASON_VMCALL);
    if (unlikely(!call_ghci(vcpu, NULL)))
        call_leave_unfinished(vcpu);
}

void exit_vmcall(struct vcpu *vcpu)
{
    uint64_t *rax = &vcpu->vmx.regs.gpr[GPR_RAX];

    /* HC_NOP has neither effects nor arguments, so privilege and mode need no check. */
    if (likely(*rax == (ABI_HYPERCALL | HC_NOP))) {
        *rax = 0;
        vmx_skip(&vcpu->vmx, REASON_VMCALL);
        return;
    }
    if (unlikely(vmx_in_user_code())) { /* user code must not control its VM */
        vmx_raise(&vcpu->vmx, VECTOR_UD, 0);
        return;
    }
    if (is_ghci(vcpu))
        call_in_ghci_layout(vcpu);
    else
        call_by_number(vcpu);
    vcpu_end_of_slice(vcpu);
}
