#include "vm/ipi.h"

#include "vm/exits.h"
#include "vm/pcpu.h"
#include "vm/sched.h"
#include "vm/sleep.h"
#include "vm/startup.h"
#include "mmu/tlb.h"
#include "vmx/init_state.h"
#include "vmx/vmcs.h"

/* The mailbox's news, set after what they tell of. */
#define MAIL_VECTORS 0xfu /* a bit for each word of them */
#define MAIL_NMI     0x10u
#define MAIL_INIT    0x20u

/* ---- Sending --------------------------------------------------------------------------------- */

/* What is in the mailbox has come to nothing: an INIT clears the APIC, and until the start-up IPI
 * nothing reaches the CPU. Whatever is sent after that IPI is kept. */
static void empty(struct mailbox *mail)
{
    __atomic_fetch_and(&mail->news, MAIL_INIT, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(mail->vectors); i++)
        __atomic_store_n(&mail->vectors[i], 0, __ATOMIC_SEQ_CST);
}

static void send_startup(struct vcpu *to, uint8_t vector)
{
    if (!startup_counts(__atomic_load_n(&to->mailbox.startup, __ATOMIC_SEQ_CST)))
        return;
    empty(&to->mailbox);
    if (!startup_send(&to->mailbox.startup, vector))
        return;
    to->starting = true;
    __atomic_add_fetch(&to->vm->active, 1, __ATOMIC_RELAXED); /* the sender keeps it above 0 */
    sched_add(to);
}

static void post(struct vcpu *to, const struct lapic_message *message)
{
    struct mailbox *mail = &to->mailbox;
    uint32_t news;
    switch (message->mode) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST:
        __atomic_fetch_or(&mail->vectors[message->vector / 64], BIT(message->vector % 64),
                          __ATOMIC_RELAXED);
        news = 1u << message->vector / 64;
        break;
    case LAPIC_NMI:
        news = MAIL_NMI;
        break;
    case LAPIC_INIT:
        empty(mail);
        if (!startup_init(&mail->startup))
            return;
        news = MAIL_INIT;
        break;
    case LAPIC_STARTUP:
        send_startup(to, message->vector);
        return;
    default:
        return;
    }
    __atomic_fetch_or(&mail->news, news, __ATOMIC_SEQ_CST);
    sleep_alert(to);
}

void ipi_send(struct vcpu *from, const struct lapic_message *message)
{
    struct vm *vm = from->vm;
    bool one = !message->all && !message->logical; /* the vCPU of that number */
    for (unsigned i = one ? message->destination : 0; i < vm->vcpu_count; i++) {
        struct vcpu *to = vm->vcpus[i];
        bool addressed = to != from && lapic_addressed(&to->lapic, message);
        if (addressed)
            post(to, message);
        if (one || (addressed && message->mode == LAPIC_LOWEST))
            return;
    }
}

/* ---- Receiving ------------------------------------------------------------------------------- */

bool ipi_waiting(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->mailbox.news, __ATOMIC_SEQ_CST);
}

void ipi_receive(struct vcpu *vcpu)
{
    struct mailbox *mail = &vcpu->mailbox;
    if (!__atomic_load_n(&mail->news, __ATOMIC_RELAXED))
        return;
    if (startup_is_stopped(&mail->startup)) { /* what else is there is for after the start */
        vcpu->stopping = true;
        return;
    }
    uint32_t news = __atomic_exchange_n(&mail->news, 0, __ATOMIC_ACQUIRE);
    for (uint32_t left = news & MAIL_VECTORS; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint64_t set = __atomic_exchange_n(&mail->vectors[i], 0, __ATOMIC_RELAXED);
        for (; set; set &= set - 1)
            lapic_accept(&vcpu->lapic, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(set)));
    }
    if (news & MAIL_NMI)
        vcpu_nmi(vcpu);
}

bool ipi_restarts(struct vcpu *vcpu)
{
    vcpu->stopping = false;
    vcpu->starting = startup_restarts(&vcpu->mailbox.startup);
    return vcpu->starting;
}

/* ---- Starting -------------------------------------------------------------------------------- */

void ipi_start(struct vcpu *vcpu)
{
    int vector = startup_take(&vcpu->mailbox.startup);
    vcpu->starting = false;
    if (vector < 0) {
        vcpu->stopping = true;
        return;
    }
    vcpu->halted = false;
    init_state(&vcpu->vmx.regs, &vcpu->extra, cpuid_signature(), (uint8_t)vector, vmwrite);
    vcpu->vmx.pending = (struct event_pending){0};
    vcpu->external.valid = vcpu->delayed.valid = false;
    lapic_reset(&vcpu->lapic);
    vcpu->mmio.breakpoints = (struct breakpoints){0};
    cpuid_update(vcpu);
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_GUEST);
}
