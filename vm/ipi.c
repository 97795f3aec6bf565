/* SPDX-License-Identifier: MIT */
#include "vm/ipi.h"

#include "vm/exits.h"
#include "vm/layout.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/startup.h"
#include "vm/visit.h"
#include "vm/vm.h"
#include "lib/trace.h"
#include "mmu/tlb.h"
#include "vmx/init_state.h"
#include "vmx/vmcs.h"

/* ---- Sending --------------------------------------------------------------------------------- */

static void ipi_send_startup(struct vcpu *to, uint8_t vector)
{
    if (!startup_send(&to->mailbox.startup, vector))
        return;
    attention_request(&to->vmx.attention, ATTENTION_START);
    __atomic_add_fetch(&to->vm->active, 1, __ATOMIC_RELAXED); /* the sender keeps it above 0 */
    sched_add(to);
}

static ALWAYS_INLINE void ipi_alert(struct vcpu *to)
{
    attention_request(&to->vmx.attention, ATTENTION_MAIL);
    sleep_alert(to);
}

static ALWAYS_INLINE void ipi_post(struct vcpu *to, const struct lapic_message *message)
{
    struct mailbox *mail = &to->mailbox;
    trace(apic_ipi, to->index, message->vector, message->mode);
    switch (message->mode) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST:
        __atomic_fetch_or(&mail->vectors[message->vector / 64], BIT(message->vector % 64),
                          __ATOMIC_RELAXED);
        break;
    case LAPIC_NMI:
        if (!startup_nmi(&mail->startup))
            return;
        break;
    case LAPIC_INIT:
        if (!startup_init(&mail->startup))
            return;
        break;
    case LAPIC_STARTUP:
        ipi_send_startup(to, message->vector);
        return;
    default:
        return;
    }
    ipi_alert(to);
}

void ipi_send(struct vcpu *from, const struct lapic_message *message)
{
    struct vm *vm = from->vm;
    bool one = !message->all && !message->logical; /* the vCPU whose number is the destination */
    for (unsigned i = one ? message->destination : 0; i < vm->vcpu_count; i++) {
        struct vcpu *to = vm->vcpus[i];
        bool addressed = to != from && lapic_addressed(&to->lapic, message);
        if (addressed)
            ipi_post(to, message);
        if (one || (addressed && message->mode == LAPIC_LOWEST))
            return;
    }
}

/* What is rare has a flag in the mailbox, so that the other messages need no further test. The
 * sender sets the flag last, and the receiver clears it first, so it misses nothing. */
static void ipi_post_rare(struct vcpu *to)
{
    __atomic_store_n(&to->mailbox.rare, 1, __ATOMIC_SEQ_CST);
    ipi_alert(to);
}

static void ipi_post_legacy(struct vcpu *to, uint32_t bits)
{
    __atomic_fetch_or(&to->mailbox.pic, bits, __ATOMIC_SEQ_CST);
    ipi_post_rare(to);
}

void ipi_send_legacy(struct vm *vm, uint32_t bits)
{
    ipi_post_legacy(vm->vcpus[0], bits);
}

/* Level-triggered vectors have a set of their own, because the same vector can be sent
 * edge-triggered before the receiver has taken it. */
static void ipi_post_level(struct vcpu *to, uint8_t vector)
{
    struct mailbox *mail = &to->mailbox;
    trace(apic_ipi, to->index, vector, LAPIC_FIXED);
    __atomic_fetch_or(&mail->levels[vector / 64], BIT(vector % 64), __ATOMIC_SEQ_CST);
    ipi_post_rare(to);
}

/* All vCPUs are told, because any of them may be about to stop. One that waits for a start-up IPI
 * looks when it starts. */
void ipi_offer_chores(struct vm *vm)
{
    __atomic_store_n(&vm->chores, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        ipi_post_rare(vm->vcpus[i]);
}

/* A lowest-priority message goes to the first addressed vCPU that accepts it. */
bool ipi_send_from_device(void *context, const struct lapic_message *message, bool level)
{
    struct vm *vm = context;
    bool accepted = false;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *to = vm->vcpus[i];
        if (!lapic_addressed(&to->lapic, message) || !lapic_accepts(&to->lapic))
            continue;
        if (message->mode == LAPIC_EXTINT)
            ipi_post_legacy(to, MAIL_EXTINT);
        else if (level && message->mode <= LAPIC_LOWEST)
            ipi_post_level(to, message->vector);
        else
            ipi_post(to, message);
        accepted = true;
        if (message->mode == LAPIC_LOWEST)
            break;
    }
    return accepted;
}

/* Tells a vCPU of frames. Returns true if it is active. One that stops because of an INIT passes
 * the message on: either it sees the message, or this function sees the INIT, because each writes
 * before it reads. */
static bool ipi_tell_of_frames(struct vcpu *to)
{
    __atomic_store_n(&to->mailbox.frames, 1, __ATOMIC_SEQ_CST);
    ipi_post_rare(to);
    return startup_is_active(&to->mailbox.startup);
}

/* Sets *message to the message that the network device will send for the frames. Returns false if
 * it will send none. */
static bool frames_message(const struct vm *vm, struct lapic_message *message)
{
    const struct virtio *device = vm->net ? &vm->net->device.virtio : NULL;
    return device && device->would_send ? device->would_send(device, 0, message)
                                        : ioapic_message(&vm->ioapic, LINE_NET, message);
}

/* The vCPU that gets the device's interrupt is told, because it has to leave its guest in any case.
 * If there is none, the first active vCPU is told, and if no vCPU is active, the first one that
 * starts looks. */
void ipi_send_frames(void *context)
{
    struct vm *vm = context;
    struct lapic_message message;
    bool told = false, interrupts = frames_message(vm, &message);
    for (unsigned i = 0; interrupts && i < vm->vcpu_count && !told; i++)
        told = startup_is_active(&vm->vcpus[i]->mailbox.startup) &&
               lapic_addressed(&vm->vcpus[i]->lapic, &message) && ipi_tell_of_frames(vm->vcpus[i]);
    for (unsigned i = 0; i < vm->vcpu_count && !told; i++)
        told = ipi_tell_of_frames(vm->vcpus[i]);
}

/* ---- Receiving ------------------------------------------------------------------------------- */

/* Returns the bits that other CPUs have set since the last call, and clears them. The plain read
 * avoids the locked operation in the common case. Vectors that were sent before the start-up IPI
 * may be among them. They have no effect, like vectors that a CPU gets while it waits for that IPI:
 * INIT disables the APIC in SVR, and only the started code can enable it again. */
static uint64_t mailbox_take(uint64_t *word)
{
    return READ_ONCE(*word) ? __atomic_exchange_n(word, 0, __ATOMIC_RELAXED) : 0;
}

static NOINLINE void ipi_receive_rare(struct vcpu *vcpu)
{
    struct mailbox *mail = &vcpu->mailbox;
    __atomic_store_n(&mail->rare, 0, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&vcpu->vm->chores, false, __ATOMIC_SEQ_CST))
        attention_request(&vcpu->vmx.attention, ATTENTION_CHORES);
    if (__atomic_exchange_n(&mail->frames, 0, __ATOMIC_SEQ_CST))
        vcpu->frames_at = vcpu->frames_from;
    for (unsigned i = 0; i < ARRAY_SIZE(mail->levels); i++)
        for (uint64_t set = mailbox_take(&mail->levels[i]); set; set &= set - 1)
            lapic_accept_level(&vcpu->lapic, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(set)));
    vcpu_receive_legacy(vcpu, __atomic_exchange_n(&mail->pic, 0, __ATOMIC_SEQ_CST));
}

/* The vCPU leaves its pCPU for an INIT. Its chores are the VM's, so another vCPU does them, and the
 * frames that it was told of are for the VM, too. */
static void ipi_stop(struct vcpu *vcpu)
{
    attention_request(&vcpu->vmx.attention, ATTENTION_STOP);
    if (__atomic_load_n(&vcpu->mailbox.frames, __ATOMIC_SEQ_CST) || vcpu->frames_at != TIME_NEVER)
        ipi_send_frames(vcpu->vm);
    vcpu->frames_at = TIME_NEVER;
    if (!attention_requested(&vcpu->vmx.attention, ATTENTION_CHORES))
        return;
    attention_clear(&vcpu->vmx.attention, ATTENTION_CHORES);
    ipi_offer_chores(vcpu->vm);
}

void ipi_receive(struct vcpu *vcpu)
{
    struct mailbox *mail = &vcpu->mailbox;
    if (!attention_requested(&vcpu->vmx.attention, ATTENTION_MAIL))
        return;
    /* The request is cleared before anything in the mailbox is read, including a pending INIT. A
     * sender that writes later makes the request again. */
    attention_clear(&vcpu->vmx.attention, ATTENTION_MAIL);
    if (startup_is_stopped(&mail->startup)) {
        ipi_stop(vcpu);
        attention_request(&vcpu->vmx.attention, ATTENTION_MAIL); /* an NMI may follow the start */
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(mail->vectors); i++)
        for (uint64_t set = mailbox_take(&mail->vectors[i]); set; set &= set - 1)
            lapic_accept(&vcpu->lapic, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(set)));
    if (unlikely(READ_ONCE(mail->rare)))
        ipi_receive_rare(vcpu);
    if (startup_take_nmi(&mail->startup))
        vcpu_nmi(vcpu);
}

bool ipi_restarts(struct vcpu *vcpu)
{
    /* A step of GDB's ends before the first instruction after the start, and the monitor's now. */
    if (!vcpu->vm->debugger)
        attention_clear(&vcpu->vmx.attention, ATTENTION_STEP);
    attention_clear(&vcpu->vmx.attention, ATTENTION_STOP | ATTENTION_HALTED);
    visit_close(vcpu);
    if (!startup_restarts(&vcpu->mailbox.startup))
        return false;
    attention_request(&vcpu->vmx.attention, ATTENTION_START);
    return true;
}

/* ---- Starting -------------------------------------------------------------------------------- */

void ipi_start(struct vcpu *vcpu)
{
    int vector = startup_take(&vcpu->mailbox.startup);
    attention_clear(&vcpu->vmx.attention, ATTENTION_START);
    if (vector < 0) {
        attention_request(&vcpu->vmx.attention, ATTENTION_STOP);
        return;
    }
    visit_open(vcpu);
    vcpu->unfinished = false;
    init_state(&vcpu->vmx.regs, &vcpu->extra, cpuid_signature(), (uint8_t)vector, vmwrite);
    vcpu->external.valid = vcpu->from_pic = vcpu->extint = false;
    vcpu->inject_at = TIME_NEVER;
    vcpu_set_delayed(vcpu);
    lapic_reset(&vcpu->lapic);
    vcpu_update_interrupt(vcpu);
    vcpu->vmx.pending = (struct event_pending){0};
    vcpu->mmio.breakpoints = (struct breakpoints){0};
    cpuid_update(vcpu);
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_GUEST);
}
