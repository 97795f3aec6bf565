/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of test_mmu_adversary.c. An access is tried with every answer that the TLB could give,
 * and each answer is checked against the model. If the TLB has none, the CPU walks the tables, and
 * the hypervisor handles the exits.
 */
#pragma once

#include "tests/unit/mmu/mmu_explained.h"
#include "tests/unit/mmu/mmu_model.h"

/* ---- The CPU --------------------------------------------------------------------------------- */

static const void *proper_page(struct vm *vm, gfn_t gfn)
{
    struct place place = proper_place(vm, gfn);
    return guest_page(&vm->mmu, gpa_of(&place), ACCESS_READ);
}

/* The guest reaches this page through a leaf of this level. Is it the page that the guest should
 * see? */
static void judge_page(struct vm *vm, const struct place *place, hpa_t page, unsigned level)
{
    const void *right = proper_page(vm, place->gfn);
    if (!right || virt_to_phys(right).v != page.v)
        fail_msg("step %lu: frame %#lx: alias %u reaches the wrong page %#lx", step, place->gfn.v,
                 place->alias, page.v);
    if (level > 1 && model_is_mixed(vm, place->gfn))
        fail_msg("step %lu: a large page over frame %#lx, where both sides are", step,
                 place->gfn.v);
}

/* The CPU could use this translation for this access. Is the result what the model says? */
static void judge(struct vm *vm, const struct place *place, unsigned access, hpa_t page)
{
    struct slot_model *slot = model_slot(vm, place->gfn);
    int outcome = model_outcome(vm, place, access);
    if (outcome != MODEL_RAM)
        fail_msg("step %lu: frame %#lx by alias %u: the CPU reaches %#lx with access %u, where the "
                 "outcome must be %d",
                 step, place->gfn.v, place->alias, page.v, access, outcome);
    judge_page(vm, place, page, 1);
    uint64_t value = *(const uint64_t *)phys_to_virt(page);
    if (value != slot->page[place->gfn.v - slot->base].value)
        fail_msg("step %lu: frame %#lx holds %#lx", step, place->gfn.v, value);
}

/* Checks all answers that the CPU can give without an exit. Returns true if there is one. */
static bool hits(struct vm *vm, const struct place *place, unsigned access, hpa_t *page)
{
    uint64_t eptp = mmu_eptp(&vm->mmu);
    struct tlb *tlb = tlb_of(eptp);
    struct cached *set = tlb->leaf[place->index];
    bool ad = eptp >> 6 & 1, hit = false;

    /* A CPU that has cached the translation does not walk, so it does not set D. */
    for (unsigned i = 0; i < WAYS; i++) {
        const struct cached *c = &set[i];
        hit = hit || (c->used && !(access & ~c->permission) && (access != 2 || c->dirty));
    }
    bool walks = !hit || rnd(2);
    hit = false;
    /* Walks that begin at a cached pointer to a table, whose page may contain another table by now.
     */
    for (unsigned level = 1; walks && level <= 3; level++) {
        for (unsigned i = 0; i < WAYS; i++) {
            const struct cached *c = &tlb->table[level][place->index / PIECE][i];
            if (!c->used)
                continue;
            struct hw_translation t = walk_and_remember(tlb, phys_to_virt(c->page), level,
                                                        c->permission, place, access, ad);
            if (t.result == HW_OK)
                judge_page(vm, place, t.page, t.level);
        }
    }
    for (unsigned i = 0; i < WAYS; i++) {
        const struct cached *c = &set[i];
        if (c->used && !(access & ~c->permission) && (access != 2 || c->dirty)) {
            judge(vm, place, access, c->page);
            *page = c->page;
            hit = true;
        }
    }
    return hit;
}

/* A violation invalidates the translations that caused it (SDM 3, 29.4.3.1): the CPU drops those of
 * the page that deny the access. */
static void self_invalidate(struct vm *vm, const struct place *place, unsigned access)
{
    struct tlb *tlb = tlb_of(mmu_eptp(&vm->mmu));
    struct cached *set = tlb->leaf[place->index];
    for (unsigned i = 0; i < WAYS; i++) {
        if (access & ~set[i].permission)
            set[i].used = false;
    }
}

/* ---- Its log of modified pages --------------------------------------------------------------- */

#define LOG_ROOM \
    64u /* fewer than 512, so that logs fill; one access may add an entry for each walk */

/* Each vCPU has its own log, and stays on its CPU. */
static struct log {
    bool on;
    unsigned used;
    uint64_t entries[2 * LOG_ROOM];
} cpu_log[VMS][CPUS];

static struct log *log_of(const struct vm *vm, unsigned cpu)
{
    return &cpu_log[vm - vms][cpu];
}

static void modified(gfn_t gfn)
{
    struct log *log = log_of(in_guest[support_cpu], support_cpu);
    if (!log->on)
        return;
    assert_true(log->used < ARRAY_SIZE(log->entries)); /* the CPU exits before the log is full */
    log->entries[log->used++] = gfn.v << 12;
    met.logged++;
}

static void leave(unsigned cpu)
{
    struct vm *vm = in_guest[cpu];
    if (vm && log_of(vm, cpu)->on) {
        struct log *log = log_of(vm, cpu);
        mmu_pml_note(&vm->mmu, log->entries, log->used);
        log->used = 0;
        log->on = mmu_wants_pml(&vm->mmu);
    }
    tlb_leave(cpu);
    in_guest[cpu] = NULL;
}

/* ---- Its last writes ------------------------------------------------------------------------- */

/* A frame that the other CPU is changing. A CPU that is still in the guest writes to it through its
 * cached translations, and leaves the guest only then. */
static struct {
    struct vm *vm;
    gfn_t gfn;
    bool converting; /* then the write is lost */
    bool written;
} changing;

static void written(struct vm *vm, gfn_t gfn)
{
    struct page_model *page = model_page(vm, gfn);
    page->value = stamp;
    page->dirty = true;
}

/* The page that a store through this alias reaches without an exit: through the TLB, unless the CPU
 * drops the translation, or by a walk, which finds nothing if the entry is empty. */
static bool store_reaches(const struct place *place, hpa_t *page)
{
    uint64_t eptp = mmu_eptp(&changing.vm->mmu);
    struct tlb *tlb = tlb_of(eptp);
    const struct cached *set = tlb->leaf[place->index];
    for (unsigned i = 0; i < WAYS && rnd(4); i++) {
        *page = set[i].page;
        if (set[i].used && set[i].permission & 2 && set[i].dirty)
            return true;
    }
    struct hw_translation t = walk_and_remember(tlb, phys_to_virt(HPA(eptp & 0x000ffffffffff000)),
                                                4, 7, place, 2, eptp >> 6 & 1);
    *page = t.page;
    return t.result == HW_OK;
}

static void last_write(void)
{
    for (unsigned alias = 0; alias < 2; alias++) {
        struct place place = place_of(changing.vm, changing.gfn, alias);
        hpa_t page;
        if (!alias_exists(changing.vm, alias) || !store_reaches(&place, &page))
            continue;
        if (!support_page_is_used(page))
            fail_msg("step %lu: frame %#lx: the CPU writes to the freed page %#lx", step,
                     changing.gfn.v, page.v);
        *(uint64_t *)phys_to_virt(page) = changing.converting ? ~0ull : ++stamp;
        met.late += changing.converting;
        met.last++;
        changing.written = true;
        if (!changing.converting)
            written(changing.vm, changing.gfn);
    }
}

static void kicked(unsigned cpu)
{
    unsigned before = support_cpu;
    support_cpu = cpu;
    if (changing.vm && in_guest[cpu] == changing.vm)
        last_write();
    leave(cpu);
    support_cpu = before;
    epoch_pass(cpu, epoch_now());
    met.kicked++;
}

/* Enters the guest, or continues in it. The vCPU checks whether it has to log when it pays a debt,
 * and when it was out of the guest for longer than a short exit. */
static bool enter(struct vm *vm, const struct place *place, unsigned access, hpa_t *page)
{
    static struct vm *last[CPUS];
    if (in_guest[support_cpu] == vm && log_of(vm, support_cpu)->used > LOG_ROOM) {
        leave(support_cpu);
        met.full++;
    }
    if (in_guest[support_cpu] != vm) {
        bool attended = last[support_cpu] != vm || rnd(4) == 0;
        last[support_cpu] = vm;
        leave(support_cpu);
        if ((tlb_enter(&vm->mmu, support_cpu) || attended) && mmu_wants_pml(&vm->mmu))
            log_of(vm, support_cpu)->on = true;
        tlb_assert_paid(&vm->mmu, support_cpu);
        in_guest[support_cpu] = vm;
        check_freed(tlb_of(mmu_eptp(&vm->mmu)));
    }
    return hits(vm, place, access, page);
}

/* ---- The hypervisor -------------------------------------------------------------------------- */

/* How the access ends, by the explanation before its first exit. */
static struct explained_end {
    bool known;
    enum why_end end;
} explained_end;

static void ends_as_explained(enum why_end end)
{
    if (!explained_end.known)
        return;
    explained.ends[end]++;
    if (end != explained_end.end)
        fail_msg("step %lu: the access should end by %d, and ends by %d", step, explained_end.end,
                 end);
}

/* The hypervisor handles an access that exits, as it has said before that it will. */
static int handle_exit(struct vm *vm, gpa_t gpa, unsigned access, bool present,
                       enum hw_result result)
{
    struct mmio_info info;
    struct mmu_why why;
    uint32_t error_code = FAULT_RESERVED;
    explain(&vm->mmu, gpa, access, &why);
    int outcome = FAULT_INVALID;
    if (result == HW_VIOLATION)
        error_code = access | FAULT_FINAL | (present ? FAULT_PRESENT : 0);
    else
        outcome = mmu_mmio_check(&vm->mmu, gpa, &info);
    if (outcome == FAULT_INVALID)
        outcome = mmu_fault(&vm->mmu, gpa, error_code, &info);
    check_explained(&vm->mmu, gpa, &why, result, error_code, outcome);
    if (!explained_end.known)
        explained_end = (struct explained_end){true, why.end};
    return outcome;
}

/* The access ends without reaching RAM, or as a write that the hypervisor makes itself. */
static void over(struct vm *vm, const struct place *place, unsigned access, int outcome)
{
    int right = model_outcome(vm, place, access);
    /* A fetch from a device that has an MMIO SPTE: the exit does not tell that it is a fetch, and
     * the emulator refuses it. */
    if (access == 4 && place->alias == SHARED_ALIAS && right < 0 && outcome >= 0)
        right = model_outcome(vm, place, 1);
    if (outcome == FAULT_WRITE_PROTECTED ? right != MODEL_GUARDED
        : outcome == FAULT_EMULATE       ? right != MODEL_DEVICE && right != MODEL_READ_ONLY
        : outcome == FAULT_VE            ? right != MODEL_VE
                                         : right != outcome)
        fail_msg("step %lu: frame %#lx by alias %u, access %u: the MMU says %d, the outcome must "
                 "be %d",
                 step, place->gfn.v, place->alias, access, outcome, right);
    met.refused += outcome < 0;
    met.emulated += outcome == FAULT_EMULATE;
    if (outcome == FAULT_WRITE_PROTECTED) {
        uint64_t value = ++stamp;
        assert_int_equal(guest_write(&vm->mmu, gpa_of(place), &value, sizeof(value)), 0);
        written(vm, place->gfn);
        met.guarded++;
    }
}

static void try_access(struct vm *vm, const struct place *place, unsigned access)
{
    for (unsigned tries = 0; tries < 6; tries++) {
        hpa_t page;
        if (enter(vm, place, access, &page)) {
            ends_as_explained(WHY_END_MEMORY);
            met.hits++;
            if (access == 2) {
                met.writes++;
                *(uint64_t *)phys_to_virt(page) = ++stamp;
                written(vm, place->gfn);
            }
            return;
        }
        uint64_t eptp = mmu_eptp(&vm->mmu);
        struct hw_translation t =
            walk_and_remember(tlb_of(eptp), phys_to_virt(HPA(eptp & 0x000ffffffffff000)), 4, 7,
                              place, access, eptp >> 6 & 1);
        if (t.result == HW_OK) {
            judge_page(vm, place, t.page, t.level);
            met.mixed += t.level == 1 && model_is_mixed(vm, place->gfn);
            continue; /* the TLB answers now, and the answer is checked */
        }
        if (t.result == HW_VIOLATION)
            self_invalidate(vm, place, access);
        if (t.result == HW_VIOLATION && t.converts && vm->ve) { /* without an exit */
            ends_as_explained(WHY_END_VE);
            over(vm, place, access, FAULT_VE);
            met.ve++;
            return;
        }
        leave(support_cpu);
        uint64_t collapses = vm->mmu.cpu[support_cpu].stats.collapses;
        int outcome = handle_exit(vm, gpa_of(place), access, t.permission, t.result);
        assert_true(outcome != FAULT_CONTINUE && outcome != FAULT_INVALID); /* F6 */
        met.replaced += vm->mmu.cpu[support_cpu].stats.collapses - collapses;
        if (outcome == FAULT_VE) { /* the access is repeated, and the CPU converts (X10) */
            met.ve_exits++;
            assert_int_equal(model_outcome(vm, place, access), MODEL_VE);
        } else if (outcome < 0 || outcome == FAULT_EMULATE || outcome == FAULT_WRITE_PROTECTED) {
            ends_as_explained(outcome < 0                ? WHY_END_REFUSED
                              : outcome == FAULT_EMULATE ? WHY_END_DEVICE
                                                         : WHY_END_TRACKED);
            over(vm, place, access, outcome);
            return;
        }
    }
    fail_msg("step %lu: the access to frame %#lx never ends", step, place->gfn.v);
}

static void do_access(struct vm *vm, const struct place *place, unsigned access)
{
    explained_end.known = false;
    try_access(vm, place, access);
}

/* Checks how the tables translate a frame, through all its aliases. */
static void check_aliases(struct vm *vm, gfn_t gfn)
{
    for (unsigned alias = 0; alias < ALIASES; alias++) {
        unsigned level;
        hpa_t page;
        struct place place = place_of(vm, gfn, alias);
        if (!alias_exists(vm, alias) || mmu_gpa_to_pfn(&vm->mmu, gpa_of(&place), &page, &level))
            continue;
        int outcome = model_outcome(vm, &place, alias & XO_ALIAS ? 4 : 1);
        if (outcome != MODEL_RAM)
            fail_msg("step %lu: frame %#lx is mapped at alias %u, where the outcome must be %d",
                     step, gfn.v, alias, outcome);
        judge_page(vm, &place, page, level);
        met.aliases++;
    }
}
