#include "guest/ipi.h"

#include "guest/pcpu.h"
#include "guest/sched.h"
#include "guest/sleep.h"
#include "lib/string.h"
#include "mmu/tlb.h"
#include "vmx/vmcs.h"

/* The mailbox's news, set after what they tell of. */
#define MAIL_VECTORS 0xfu /* a bit for each word of them */
#define MAIL_NMI     0x10u
#define MAIL_INIT    0x20u

#define MAIL_STARTUP 0x100u /* with the vector in the low byte */

#define AR_CODE16  (0xbu | SEG_AR_S | SEG_AR_P)
#define AR_DATA16  (0x3u | SEG_AR_S | SEG_AR_P)
#define AR_LDT     (0x2u | SEG_AR_P)
#define AR_TSS32   (0xbu | SEG_AR_P)
#define DR7_RESET  0x400
#define LIMIT_64K  0xffff
#define FAMILY_RDX 0x600 /* SDM 3, table 10-1 */

/* ---- Sending --------------------------------------------------------------------------------- */

/* From whichever of the two comes second: the start-up IPI or the stop. */
static bool activate(struct vcpu *vcpu)
{
    uint32_t waiting = 0;
    if (!__atomic_compare_exchange_n(&vcpu->mailbox.active, &waiting, 1, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return false;
    __atomic_fetch_and(&vcpu->mailbox.news, ~MAIL_INIT, __ATOMIC_RELAXED); /* it is stopped */
    vcpu->starting = true;
    return true;
}

/* One to a vCPU that is active waits for the INIT that may be on its way there; the next INIT
 * forgets it. */
static void send_startup(struct vcpu *to, uint8_t vector)
{
    __atomic_store_n(&to->mailbox.startup, MAIL_STARTUP | vector, __ATOMIC_SEQ_CST);
    if (!activate(to))
        return;
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
        __atomic_store_n(&mail->startup, 0, __ATOMIC_SEQ_CST);
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
    uint32_t news = __atomic_exchange_n(&mail->news, 0, __ATOMIC_ACQUIRE);
    for (uint32_t left = news & MAIL_VECTORS; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        uint64_t set = __atomic_exchange_n(&mail->vectors[i], 0, __ATOMIC_RELAXED);
        for (; set; set &= set - 1)
            lapic_accept(&vcpu->lapic, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(set)));
    }
    if (news & MAIL_NMI)
        vcpu_nmi(vcpu);
    if (news & MAIL_INIT)
        vcpu->stopping = true;
}

bool ipi_restarts(struct vcpu *vcpu)
{
    vcpu->stopping = false;
    __atomic_store_n(&vcpu->mailbox.active, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&vcpu->mailbox.startup, __ATOMIC_SEQ_CST) && activate(vcpu);
}

/* ---- Starting -------------------------------------------------------------------------------- */

static void set(struct vcpu *vcpu, enum cpu_reg reg, uint64_t value)
{
    cpu_set_reg(&vcpu->vmx.regs, reg, value);
}

static void set_segments(struct vcpu *vcpu, uint8_t vector)
{
    static const uint16_t selectors[] = {VMCS_GUEST_ES_SELECTOR, VMCS_GUEST_CS_SELECTOR,
                                         VMCS_GUEST_SS_SELECTOR, VMCS_GUEST_DS_SELECTOR,
                                         VMCS_GUEST_FS_SELECTOR, VMCS_GUEST_GS_SELECTOR};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        bool code = i == SEG_CS;
        vmwrite(selectors[i], code ? (uint64_t)vector << 8 : 0);
        set(vcpu, REG_SEG_BASE + i, code ? (uint64_t)vector << 12 : 0);
        set(vcpu, REG_SEG_LIMIT + i, LIMIT_64K);
        set(vcpu, REG_SEG_AR + i, code ? AR_CODE16 : AR_DATA16);
    }
    vmwrite(VMCS_GUEST_LDTR_SELECTOR, 0);
    vmwrite(VMCS_GUEST_LDTR_BASE, 0);
    vmwrite(VMCS_GUEST_LDTR_LIMIT, LIMIT_64K);
    vmwrite(VMCS_GUEST_LDTR_ACCESS_RIGHTS, AR_LDT);
    vmwrite(VMCS_GUEST_TR_SELECTOR, 0);
    vmwrite(VMCS_GUEST_TR_BASE, 0);
    vmwrite(VMCS_GUEST_TR_LIMIT, LIMIT_64K);
    vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, AR_TSS32);
    vmwrite(VMCS_GUEST_GDTR_BASE, 0);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, LIMIT_64K);
    vmwrite(VMCS_GUEST_IDTR_BASE, 0);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, LIMIT_64K);
}

/* After INIT (SDM 3, table 10-1): real mode, at the page that the IPI names. */
void ipi_start(struct vcpu *vcpu)
{
    uint8_t vector = (uint8_t)__atomic_exchange_n(&vcpu->mailbox.startup, 0, __ATOMIC_SEQ_CST);

    vcpu->starting = vcpu->halted = false;
    memset(vcpu->vmx.regs.gpr, 0, sizeof(vcpu->vmx.regs.gpr));
    vcpu->vmx.regs.gpr[GPR_RDX] = FAMILY_RDX;
    vmwrite(VMCS_ENTRY_CONTROLS, vmread(VMCS_ENTRY_CONTROLS) & ~ENTRY_IA32E_GUEST);
    set_segments(vcpu, vector);
    set(vcpu, REG_CR0, CR0_ET | CR0_CD | CR0_NW);
    set(vcpu, REG_CR3, 0);
    set(vcpu, REG_CR4, 0);
    set(vcpu, REG_EFER, 0);
    set(vcpu, REG_RFLAGS, RFLAGS_FIXED);
    set(vcpu, REG_RIP, 0);
    vmwrite(VMCS_GUEST_RSP, 0);
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
    write_cr2(0);

    vcpu->vmx.pending = (struct event_pending){0};
    vcpu->external.valid = vcpu->delayed.valid = false;
    lapic_reset(&vcpu->lapic);
    cpuid_update(vcpu);
    mmio_cache_clear_gva(&vcpu->mmio.cache);
    tlb_invvpid(&vcpu->vm->mmu, INVVPID_SINGLE, vcpu->vpid, GVA(0), INVVPID_GUEST);
}
