/* SPDX-License-Identifier: MIT */
/* `ept`, `gva`, `slots`, `dirty` and `memory`: how addresses become memory, and whose it is. */
#include "arch/x86/memory.h"
#include "lib/bits.h"
#include "lib/page.h"
#include "lib/string.h"
#include "mmio/walk.h"
#include "mmu/dirty.h"
#include "mmu/look.h"
#include "monitor/command.h"
#include "monitor/commands.h"
#include "monitor/why_text.h"
#include "vm/registry.h"
#include "vm/vm.h"

/* ---- ept ------------------------------------------------------------------------------------- */

static void say_slot(struct monitor_call *call, const struct mmu_look *look)
{
    char flags[100];
    if (!look->in_slot) {
        monitor_say(call, "  no slot: %s",
                    role_has_mmio(look->root->role) ? "devices are reached here" : "not memory");
        return;
    }
    memslot_flags_text(look->slot.flags, flags, sizeof(flags));
    monitor_say(call, "  slot %u, from GPA %#lx, %lu pages: %s", look->slot.id,
                look->slot.base.v << PAGE_SHIFT, look->slot.backing.pages, flags);
    if (page_is_none(look->page))
        monitor_say(call, "  no host page yet: nobody has touched it");
    else
        monitor_say(call, "  host page %#lx%s%s%s%s", look->page.v,
                    look->page_level == EPT_LEVEL_1G   ? ", in a block of 1 GiB"
                    : look->page_level == EPT_LEVEL_2M ? ", in a block of 2 MiB"
                                                       : "",
                    !look->slot.shared ? ""
                    : look->shared     ? ", shared"
                                       : ", private",
                    look->tracked ? ", writes are tracked" : "",
                    look->dirty ? ", in the dirty log" : "");
}

static void say_walk(struct monitor_call *call, const struct mmu_look *look, uint64_t generation)
{
    char text[MONITOR_WIDTH - 50];
    monitor_say(call, "  root %lu, %s, at GPA %#lx%s", call->index, role_name(look->root->role),
                look->alias.v << PAGE_SHIFT,
                look->root->role & ROLE_MIRROR ? ", a mirror that the CPU does not walk" : "");
    for (unsigned i = 0; i < look->count; i++) {
        spte_text(&call->vm->mmu, look->entries[i].spte, look->entries[i].level, generation, text,
                  sizeof(text));
        monitor_say(call, "    level %u  0x%016lx  %s", look->entries[i].level,
                    look->entries[i].spte, text);
    }
}

/* Says one root at a time. */
bool command_ept(struct monitor_call *call)
{
    struct mmu_look look;
    if (!call->vm && (!monitor_words_end(call, 3) || !monitor_vm(call, 1) ||
                      !monitor_may_look(call, "memory") || !monitor_gpa(call, 2, &call->value[0])))
        return false;
    const struct mmu *mmu = &call->vm->mmu;
    monitor_begin_look(call);
    uint64_t generation = mmu_slot_generation(mmu);
    mmu_look(mmu, GPA(call->value[0]), (unsigned)call->index, &look);
    if (!call->index) {
        monitor_say(call, "GPA %#lx of VM %u %s, generation %#lx of the slots%s", call->value[0],
                    call->vm->number, call->vm->name,
                    (uint64_t)(generation & ~SLOT_UPDATE_IN_PROGRESS),
                    generation & SLOT_UPDATE_IN_PROGRESS ? ", which are being changed" : "");
        say_slot(call, &look);
    }
    say_walk(call, &look, generation);
    monitor_end_look(call);
    if (++call->index < mmu->root_count)
        return true;
    why_say_debts(call, mmu);
    return false;
}

/* ---- gva ------------------------------------------------------------------------------------- */

static void say_outcome(struct monitor_call *call, struct vcpu *vcpu, enum walk_result result,
                        const struct walk *w)
{
    hpa_t page;
    unsigned level;
    switch (result) {
    case WALK_OK:
        if (mmu_gpa_to_pfn(&vcpu->vm->mmu, w->gpa, &page, &level))
            monitor_say(call, "  GPA %#lx, which EPT does not map now", w->gpa.v);
        else
            monitor_say(call, "  GPA %#lx, HPA %#lx", w->gpa.v, page.v + page_offset(w->gpa.v));
        break;
    case WALK_FAULT:
        monitor_say(call, "  a read from CPL %u is a page fault, error code %#x%s",
                    cpu_cpl(&vcpu->vmx.regs), w->error_code,
                    w->error_code & PF_RESERVED  ? ": a reserved bit is set"
                    : w->error_code & PF_PRESENT ? ": it may not be read"
                                                 : ": not present");
        break;
    case WALK_NOT_RAM:
        monitor_say(call, "  the table entry at GPA %#lx is not in RAM", w->gpa.v);
        break;
    default:
        monitor_say(call, "  cannot be translated now");
        break;
    }
}

static void look_through_tables(struct monitor_call *call, struct vcpu *vcpu)
{
    struct walk_context context;
    struct walk w;
    struct cpu_regs *regs = &vcpu->vmx.regs;
    walk_context_load(&context, regs, &vcpu->vm->mmu);
    enum walk_result result = walk(&vcpu->vm->mmu, regs, &vcpu->mmio.cache.limits, &context,
                                   GVA(call->value[0]), KEY_LOOK, &w);
    monitor_say(call, "GVA %#lx of %u.%u %s, CR3 %#lx, %s", call->value[0], vcpu->vm->number,
                vcpu->index, vcpu->vm->name, context.cr3,
                !(context.key & KEY_PG) ? "no paging"
                : context.key & KEY_LMA ? "4-level paging"
                : context.key & KEY_PAE ? "PAE paging"
                                        : "32-bit paging");
    if (w.pdpte)
        monitor_say(call, "    PDPTE register  %#018lx", w.pdpte);
    for (unsigned i = 0; i < w.count; i++)
        monitor_say(
            call, "    entry at GPA 0x%08lx  %#0*lx%s%s%s%s%s%s", w.entries[i].gpa.v,
            (int)w.entry_size * 2 + 2, w.entries[i].value,
            w.entries[i].value & BIT(0) ? "  P" : "  not present",
            w.entries[i].value & BIT(1) ? " W" : "", w.entries[i].value & BIT(2) ? " U" : "",
            w.entries[i].value & BIT(5) ? " A" : "", w.entries[i].value & BIT(6) ? " D" : "",
            w.entry_size == 8 && w.entries[i].value >> 63 ? " XD" : "");
    say_outcome(call, vcpu, result, &w);
}

static bool is_canonical(uint64_t address)
{
    return address >> 47 == 0 || address >> 47 == 0x1ffff;
}

bool command_gva(struct monitor_call *call)
{
    if (!call->vm) {
        if (!monitor_words_end(call, 3) || !monitor_vcpu(call, 1) ||
            !monitor_may_look(call, "memory") ||
            !monitor_number(call, 2, "GVA", 0, ~0ull, &call->value[0]))
            return false;
        if (!is_canonical(call->value[0])) {
            monitor_say(call, "gva: %#lx is not canonical: bits 63 to 47 are not all equal",
                        call->value[0]);
            return false;
        }
    }
    if (!monitor_visit(call, look_through_tables))
        return true;
    monitor_seen(call);
    return false;
}

/* ---- slots and dirty ------------------------------------------------------------------------- */

static void say_one_slot(struct monitor_call *call, const struct memslot *slot)
{
    char flags[100];
    memslot_flags_text(slot->flags, flags, sizeof(flags));
    monitor_say(call, "  slot %-5u GPA 0x%08lx to 0x%08lx  %8lu pages  %s", slot->id,
                slot->base.v << PAGE_SHIFT,
                ((slot->base.v + slot->backing.pages) << PAGE_SHIFT) - 1, slot->backing.pages,
                flags);
}

bool command_slots(struct monitor_call *call)
{
    struct memslot slot;
    if (!call->vm && (!monitor_words_end(call, 2) || !monitor_vm(call, 1)))
        return false;
    monitor_begin_look(call);
    if (!call->index)
        monitor_say(call, "slots of VM %u %s, generation %#lx", call->vm->number, call->vm->name,
                    (uint64_t)(mmu_slot_generation(&call->vm->mmu) & ~SLOT_UPDATE_IN_PROGRESS));
    unsigned said = 0;
    bool more = true;
    while (said++ < MONITOR_LINES - 2 &&
           (more = mmu_look_slot(&call->vm->mmu, (unsigned)call->index, &slot))) {
        say_one_slot(call, &slot);
        call->index++;
    }
    monitor_end_look(call);
    return more;
}

#define DIRTY_PAGES 0x2000u /* of the largest slot whose bits are counted, in one piece */

bool command_dirty(struct monitor_call *call)
{
    static const char *const methods[] = {"write protection", "D bits", "PML"};
    struct memslot slot;
    if (!call->vm) {
        if (!monitor_words_end(call, 2) || !monitor_vm(call, 1))
            return false;
        monitor_say(call, "dirty logs of VM %u %s, by %s", call->vm->number, call->vm->name,
                    methods[dirty_method()]);
    }
    monitor_begin_look(call);
    bool more = mmu_look_slot(&call->vm->mmu, (unsigned)call->index++, &slot);
    if (more && slot.dirty) {
        call->value[0]++;
        if (slot.backing.pages <= DIRTY_PAGES)
            monitor_say(call, "  slot %-5u %lu of %lu pages are in the log", slot.id,
                        mmu_look_dirty(&slot), slot.backing.pages);
        else
            monitor_say(call, "  slot %-5u %lu pages, too many to count", slot.id,
                        slot.backing.pages);
    }
    monitor_end_look(call);
    if (!more && !call->value[0])
        monitor_say(call, "  no slot logs dirty pages");
    return more;
}

/* ---- memory ---------------------------------------------------------------------------------- */

bool command_memory(struct monitor_call *call)
{
    struct vm *vm;
    if (!monitor_words_end(call, 1))
        return false;
    if (!call->step++) {
        monitor_say(call, "host memory: %lu KiB, %lu KiB free, of which %lu KiB are promised",
                    memory_total_pages() << 2, memory_free_pages() << 2,
                    (memory_free_pages() - memory_unpromised()) << 2);
        monitor_say(call, "  %-20s %8lu KiB", "the hypervisor", memory_used(0) << 2);
    }
    for (unsigned i = 0; i < MONITOR_LINES / 2; i++) {
        if (!(vm = registry_hold_next((unsigned)call->index)))
            return false;
        const struct mmu_stats stats = mmu_stats(&vm->mmu);
        monitor_say(call, "  %2u %-17s %8lu KiB, %lu of them tables of EPT", vm->number, vm->name,
                    memory_used(vm->number) << 2, (stats.tables + 1) << 2);
        call->index = vm->number;
        registry_release(vm);
    }
    return true;
}
