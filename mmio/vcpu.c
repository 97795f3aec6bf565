/* SPDX-License-Identifier: MIT */
/*
 * Outcomes of MMIO exits: faults to inject and messages of a VM's end. Called by the emulator and
 * the flow on slow paths. Pure.
 */
#include "mmio/vcpu.h"

#include "arch/x86/reg_bits.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mmio/fetch.h"
#include "mmu/memslot.h"

#define VECTOR_PF 14

void mmio_vcpu_init(struct mmio_vcpu *vcpu, struct cpu_regs *cpu, struct mmu *mmu, struct bus *bus,
                    const struct walk_limits *limits, enum gva_cache mode)
{
    memset(vcpu, 0, sizeof(*vcpu));
    vcpu->cpu = cpu;
    vcpu->mmu = mmu;
    vcpu->mmio_bus = bus;
    mmio_cache_init(&vcpu->cache, mode, mmu, cpu, limits);
    replays_init(&vcpu->replays);
}

void mmio_advance(struct mmio_vcpu *vcpu, uint64_t next, uint64_t rflags)
{
    vcpu->single_step = rflags & RFLAGS_TF;
    vcpu->breakpoints_met = 0;
    vcpu->stale_count = 0;
    cpu_complete(vcpu->cpu, next, rflags);
}

enum mmio_outcome mmio_inject(struct mmio_vcpu *vcpu, const struct walk_context *context,
                              uint8_t vector, uint32_t error_code)
{
    /* #DF, #TS, #NP, #SS, #GP, #PF and #AC, but none in real mode. */
    bool pushes = context->protected && (BIT(vector) & (BIT(8) | BITS(14, 10) | BIT(17)));
    vcpu->fault = (struct mmio_fault){vector, pushes, error_code, 0};
    return MMIO_INJECT;
}

bool mmio_is_read_only(const struct mmio_vcpu *vcpu, gpa_t gpa)
{
    const struct memslot *slot = memslot_find(memslots(vcpu->mmu), mmu_gfn(vcpu->mmu, gpa));
    return slot && slot->flags & MEMSLOT_READONLY;
}

enum mmio_outcome mmio_end(struct mmio_vcpu *vcpu, enum mmio_end reason, gpa_t gpa,
                           const char *what, const char *advice)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[INSN_MAX];
    char hex[3 * INSN_MAX + 1] = "unreadable";
    unsigned count = mmio_fetch_peek(vcpu, bytes);
    for (unsigned i = 0; i < count; i++) {
        hex[3 * i] = digits[bytes[i] >> 4];
        hex[3 * i + 1] = digits[bytes[i] & 15];
        hex[3 * i + 2] = i + 1 < count ? ' ' : 0;
    }
    vcpu->end = reason;
    snprintf(vcpu->text, sizeof(vcpu->text), "%s: GPA 0x%llx, RIP 0x%llx, bytes %s; %s", what,
             (unsigned long long)gpa.v, (unsigned long long)cpu_reg(vcpu->cpu, REG_RIP), hex,
             advice);
    return MMIO_END;
}

enum mmio_outcome mmio_not_emulated(struct mmio_vcpu *vcpu, gpa_t gpa, const char *what)
{
    char text[96];
    snprintf(text, sizeof(text), "%s by %s, which is not emulated",
             mmio_is_read_only(vcpu, gpa) ? "a write to read-only memory" : "MMIO", what);
    return mmio_end(vcpu, MMIO_END_UNSUPPORTED, gpa, text,
                    "docs/MMIO_INSTRUCTIONS.md lists the emulated instructions");
}

static const char *access_name(uint32_t access)
{
    if (access & ACCESS_FETCH)
        return "a fetch";
    return access & ACCESS_WRITE ? "a store" : access & ACCESS_READ ? "a load" : "an access";
}

/* The message for the errors of F3 and X5, with advice for the guest. */
enum mmio_outcome mmio_refused(struct mmio_vcpu *vcpu, gpa_t gpa, uint32_t access, int error)
{
    uint32_t role = mmu_role(vcpu->mmu, gpa), refused = access & ~role & ROLE_RIGHTS;
    const char *kind = role_name(role), *where = "", *advice;
    char what[96];

    if (error == -ENOMEM) {
        snprintf(what, sizeof(what), "no host memory for %s", access_name(access));
        return mmio_end(vcpu, MMIO_END_MEMORY, gpa, what, "give the machine more memory");
    }
    if (refused) {
        access = refused;
        advice = refused & ACCESS_FETCH ? "run code from private addresses"
                                        : "load and store through the plain address";
    } else if (!memslot_find(memslots(vcpu->mmu), mmu_gfn(vcpu->mmu, gpa))) {
        where = " where no memory is";
        advice = "reach devices through shared addresses";
    } else {
        where = role & ROLE_SHARED ? " of a private page" : " of a shared page";
        advice = "convert the page by MapGPA first";
    }
    snprintf(what, sizeof(what), "%s at a%s %s address%s", access_name(access),
             *kind == 'e' ? "n" : "", kind, where);
    return mmio_end(vcpu, MMIO_END_MEMORY, gpa, what, advice);
}

enum mmio_outcome mmio_walk_failed(struct mmio_vcpu *vcpu, const struct walk_context *context,
                                   enum walk_result result, uint64_t address,
                                   const struct translation *translation)
{
    switch (result) {
    case WALK_FAULT:
        mmio_inject(vcpu, context, VECTOR_PF, translation->error_code);
        vcpu->fault.cr2 = address;
        return MMIO_INJECT;
    case WALK_RETRY:
        return MMIO_REENTER;
    case WALK_NOT_RAM:
        return mmio_end(vcpu, MMIO_END_TABLES, translation->gpa,
                        "a guest page table lies in MMIO or read-only memory",
                        "put page tables into RAM");
    case WALK_UNSUPPORTED:
        return mmio_end(vcpu, MMIO_END_PAGING, translation->gpa,
                        "MMIO under 5-level paging or supervisor protection keys",
                        "clear CR4.LA57 and CR4.PKS");
    case WALK_NO_MEMORY:
    case WALK_OK:
        break;
    }
    return mmio_end(vcpu, MMIO_END_MEMORY, translation->gpa,
                    "no host memory for a guest page table", "give the machine more memory");
}
