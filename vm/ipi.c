/* SPDX-License-Identifier: MIT */
#include "vm/ipi.h"

#include "vm/exits.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/startup.h"
#include "vm/vm.h"
#include "mmu/tlb.h"
#include "vmx/init_state.h"
#include "vmx/vmcs.h"

/* ---- Sending --------------------------------------------------------------------------------- */

/* Discards the interrupts in the mailbox: an INIT clears the APIC, and until the start-up IPI
 * nothing reaches the CPU. Interrupts that are sent after that IPI are kept. */
static void mailbox_empty(struct mailbox *mail)
{
    __atomic_store_n(&mail->nmi, 0, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(mail->vectors); i++)
        __atomic_store_n(&mail->vectors[i], 0, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(mail->levels); i++)
        __atomic_store_n(&mail->levels[i], 0, __ATOMIC_SEQ_CST);
}

static void ipi_send_startup(struct vcpu *to, uint8_t vector)
{
    if (!startup_counts(__atomic_load_n(&to->mailbox.startup, __ATOMIC_SEQ_CST)))
        return;
    mailbox_empty(&to->mailbox);
    if (!startup_send(&to->mailbox.startup, vector))
        return;
    attention_request(&to->vmx.attention, ATTENTION_START);
    __atomic_add_fetch(&to->vm->active, 1, __ATOMIC_RELAXED); /* the sender keeps it above 0 */
    sched_add(to);
}

static ALWAYS_INLINE void ipi_post(struct vcpu *to, const struct lapic_message *message)
{
    struct mailbox *mail = &to->mailbox;
    switch (message->mode) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST:
        __atomic_fetch_or(&mail->vectors[message->vector / 64], BIT(message->vector % 64),
                          __ATOMIC_RELAXED);
        break;
    case LAPIC_NMI:
        __atomic_store_n(&mail->nmi, 1, __ATOMIC_RELAXED);
        break;
    case LAPIC_INIT:
        mailbox_empty(mail);
        if (!startup_init(&mail->startup))
            return;
        break;
    case LAPIC_STARTUP:
        ipi_send_startup(to, message->vector);
        return;
    default:
        return;
    }
    attention_request(&to->vmx.attention, ATTENTION_MAIL);
    sleep_alert(to);
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

/* The level bit is there before the vector, so that the receiver finds it. The lowest priority is
 * that of the first vCPU that accepts the message. */
bool ipi_send_from_device(void *context, const struct lapic_message *message, bool level)
{
    struct vm *vm = context;
    bool accepted = false;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *to = vm->vcpus[i];
        if (!lapic_addressed(&to->lapic, message) || !lapic_accepts(&to->lapic))
            continue;
        if (level)
            __atomic_fetch_or(&to->mailbox.levels[message->vector / 64], BIT(message->vector % 64),
                              __ATOMIC_RELAXED);
        ipi_post(to, message);
        accepted = true;
        if (message->mode == LAPIC_LOWEST)
            break;
    }
    return accepted;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

/* Takes what other vCPUs have written since the last call. The plain read avoids the locked
 * operation in the common case. */
static uint64_t mailbox_take(uint64_t *word)
{
    return READ_ONCE(*word) ? __atomic_exchange_n(word, 0, __ATOMIC_RELAXED) : 0;
}

/* Takes those of a set of vectors, the ones from 64 * index on, that are level-triggered, and
 * returns the others. A level bit whose vector is not in the set belongs to a message that is just
 * being sent. */
static NOINLINE uint64_t ipi_receive_levels(struct vcpu *vcpu, unsigned index, uint64_t set)
{
    uint64_t levels =
        set & __atomic_fetch_and(&vcpu->mailbox.levels[index], ~set, __ATOMIC_RELAXED);
    for (uint64_t left = levels; left; left &= left - 1)
        lapic_accept_level(&vcpu->lapic, (uint8_t)(64 * index + (unsigned)__builtin_ctzll(left)));
    return set & ~levels;
}

void ipi_receive(struct vcpu *vcpu)
{
    struct mailbox *mail = &vcpu->mailbox;
    if (!attention_requested(&vcpu->vmx.attention, ATTENTION_MAIL))
        return;
    if (startup_is_stopped(&mail->startup)) { /* the other messages are for after the start */
        attention_request(&vcpu->vmx.attention, ATTENTION_STOP);
        return;
    }
    attention_clear(&vcpu->vmx.attention, ATTENTION_MAIL);
    for (unsigned i = 0; i < ARRAY_SIZE(mail->vectors); i++) {
        uint64_t set = mailbox_take(&mail->vectors[i]);
        if (!set)
            continue;
        if (unlikely(set & READ_ONCE(mail->levels[i])))
            set = ipi_receive_levels(vcpu, i, set);
        for (; set; set &= set - 1)
            lapic_accept(&vcpu->lapic, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(set)));
    }
    if (mailbox_take(&mail->nmi))
        vcpu_nmi(vcpu);
}

bool ipi_restarts(struct vcpu *vcpu)
{
    attention_clear(&vcpu->vmx.attention, ATTENTION_STOP | ATTENTION_HALTED);
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
    vcpu->unfinished = false;
    attention_clear(&vcpu->vmx.attention, ATTENTION_CHORES);
    init_state(&vcpu->vmx.regs, &vcpu->extra, cpuid_signature(), (uint8_t)vector, vmwrite);
    vcpu->vmx.pending = (struct event_pending){0};
    vcpu->external.valid = vcpu->delayed.valid = false;
    lapic_reset(&vcpu->lapic);
    vcpu->mmio.breakpoints = (struct breakpoints){0};
    cpuid_update(vcpu);
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_GUEST);
}
