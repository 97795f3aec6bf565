/* SPDX-License-Identifier: MIT */
/* The sentences of `why`; see the header. Pure. */
#include "monitor/why_text.h"

#include "ept/misconfig.h"
#include "lib/string.h"
#include "mmio/known.h"
#include "mmio/replay.h"
#include "monitor/command.h"
#include "mmu/look.h"
#include "mmu/spte.h"

#define GENERATION(g) ((g) & ~SLOT_UPDATE_IN_PROGRESS)

static const char *access_name(uint64_t access)
{
    return access & EPT_EXECUTE ? "fetch" : access & EPT_WRITE ? "write" : "read";
}

/* ---- What there is --------------------------------------------------------------------------- */

static void say_page(struct monitor_call *call, const struct mmu_why *why)
{
    static const char *const blocks[] = {"", "", ", in a block of 2 MiB", ", in a block of 1 GiB"};
    const struct memslot *slot = &why->slot;
    char tracked[80] = "";
    if (why->tracked)
        snprintf(tracked, sizeof(tracked), "; its writes are tracked (%u times)%s", why->tracked,
                 why->open ? ", but it is open for one now" : "");
    const char *side = !slot->shared ? "" : why->shared ? "; it is shared" : "; it is private";
    const char *dirty = !slot->dirty ? ""
                        : why->dirty ? "; it is in the dirty log"
                                     : "; it is not in the dirty log";
    if (why->populated)
        monitor_say(call, "  Its host page is %#lx%s%s%s%s.", why->page.v, blocks[why->page_level],
                    side, tracked, dirty);
    else
        monitor_say(call, "  Nobody has touched the page, so it has no host page yet%s%s%s.", side,
                    tracked, dirty);
}

static void say_slot(struct monitor_call *call, const struct mmu_why *why)
{
    char flags[100];
    if (!why->has_slot) {
        monitor_say(call, "  No slot covers the frame.");
        return;
    }
    memslot_flags_text(why->slot.flags, flags, sizeof(flags));
    uint64_t first = gfn_to_gpa(why->slot.base).v;
    uint64_t last = first + (why->slot.backing.pages << PAGE_SHIFT) - 1;
    monitor_say(call, "  Slot %u covers it: GPA %#lx to %#lx, %s.", why->slot.id, first, last,
                flags);
    if (!(why->role & ROLE_MIRROR))
        say_page(call, why);
}

static void say_change(struct monitor_call *call, const struct mmu_why *why)
{
    static const char *const kinds[CHANGE_KINDS] = {
        [CHANGE_ADD] = "a slot is being added",
        [CHANGE_DELETE] = "a slot is being deleted",
        [CHANGE_MOVE] = "a slot is being moved",
        [CHANGE_FLAGS] = "the flags of a slot are being changed",
        [CHANGE_COUNTERS] = "a slot is being prepared for tracking",
        [CHANGE_REMAP] = "a page is moving to other host memory",
    };
    if (why->changing)
        monitor_say(call, "  A change of the slots is in progress: %s (slot %u).",
                    kinds[why->change], why->change_slot);
}

static void say_entry(struct monitor_call *call, const struct mmu *mmu, const struct mmu_why *why,
                      const char *before, unsigned level, uint64_t spte)
{
    char text[MONITOR_WIDTH - 60];
    spte_text(mmu, spte, level, why->generation, text, sizeof(text));
    monitor_say(call, "%slevel %u: %#018lx, %s", before, level, spte, text);
}

/* ---- An exit --------------------------------------------------------------------------------- */

/* The sentence of each reason. The numbers are in the other lines: slot, page, entries. */
static const char *const reasons[WHY_COUNT] = {
    [WHY_NEXT] = "no decision",
    [WHY_ROLE_REFUSES] = "The root never grants this right, whatever the slots say: the MMU "
                         "refuses the access.",
    [WHY_ROLE_CONVERTS] = "The root never grants this right, and the guest takes #VE: the MMU "
                          "installs a leaf for fetches, whose violation the CPU converts.",
    [WHY_MIRROR] = "The address is private memory of a TD: the secure side decides.",
    [WHY_LEAF_ALLOWS] = "The leaf allows the access by now, since another CPU has repaired it: "
                        "nothing is done.",
    [WHY_ACCESS_RESTORED] = "Aging had taken R, W and X to notice the next access: a fast fault "
                            "restores them by a compare-exchange, without the lock (N3).",
    [WHY_WRITE_RESTORED] = "The leaf is MMU-writable and lacks only W: a fast fault sets it by a "
                           "compare-exchange, without the lock, and logs the page (N3).",
    [WHY_NO_DEVICES] = "No slot covers the frame, and addresses of this root reach no devices: "
                       "the MMU refuses the access (F3).",
    [WHY_UNCACHED] = "No slot covers the frame, so it is MMIO. MMIO caching is off, so no MMIO "
                     "SPTE is stored: each access is a violation (S10).",
    [WHY_TOO_HIGH] = "No slot covers the frame, so it is MMIO. It does not fit into an MMIO SPTE: "
                     "each access is a violation (S11).",
    [WHY_MMIO_STORED] = "No slot covers the frame, so it is MMIO: the MMU stores an MMIO SPTE of "
                        "the current generation.",
    [WHY_MMIO_FROZEN] = "No slot covers the frame, but another CPU is changing an entry on the "
                        "way: the guest repeats the access (W4).",
    [WHY_MMIO_STRAY] = "No slot covers the frame, but a leaf maps it, which is a bug of the "
                       "hypervisor: it is zapped, with a warning (P7).",
    [WHY_SLOT_LEAVES] = "The slot is being deleted or moved, so this is not MMIO: the CPU helps "
                        "with the change, and the guest repeats the access (P5).",
    [WHY_READ_ONLY] = "The slot is read-only: the write is emulated. No MMIO SPTE is stored, so "
                      "reads stay reads of memory (F6).",
    [WHY_OTHER_SIDE] = "The page is on the other side, which is a memory fault and never MMIO: "
                       "the MMU refuses the access (X5).",
    [WHY_PAGES_LEAVE] = "Frames are losing their host pages or rights right now (the invalidation "
                        "sequence is odd): the guest repeats the access (F2).",
    [WHY_TRACKED] = "Writes to the page are tracked: the hypervisor is told of this one, which is "
                    "not MMIO (N10).",
    [WHY_MAP_ALLOWS] = "The leaves allow the access then: nothing more is done.",
    [WHY_MAP_NEW] = "The slot has memory there, which is not mapped: the MMU maps it.",
    [WHY_MAP_UPGRADED] = "The leaf lacks a right that the slot grants: the MMU adds it.",
    [WHY_MAP_OUTDATED] = "The leaf is from before a change of the slot's flags, and is about to be "
                         "zapped: the guest repeats the access.",
    [WHY_MAP_FROZEN] = "Another CPU is changing an entry on the way: the guest repeats the access "
                       "(W4).",
    [WHY_MAP_COLLAPSED] = "The block fits into one large page: a large leaf replaces the table, "
                          "which owes a flush (T6).",
    [WHY_MMIO_CURRENT] = "Step 3 of the flow: the MMIO SPTE has the current generation, so there "
                         "is still no slot.",
    [WHY_MMIO_RENEWED] = "Step 4 of the flow: the MMIO SPTE is stale, but there is still no slot: "
                         "a compare-exchange makes it current, without the lock (F4).",
    [WHY_MMIO_COVERED] = "Step 4 of the flow: the MMIO SPTE is stale, and a slot covers the frame "
                         "now: a full fault follows (F4).",
    [WHY_MMIO_UPDATING] = "Step 4 of the flow: the slots are being changed, and no MMIO SPTE is "
                          "trusted meanwhile: a full fault follows (F7).",
    [WHY_BROKEN] = "Step 6 of the flow: this is no MMIO SPTE but a real misconfiguration, which is "
                   "a bug of the hypervisor; all levels are logged.",
};

static void say_cpu(struct monitor_call *call, const struct mmu_why *why, unsigned number,
                    const struct ept_path *before)
{
    char text[EPT_EXPLAIN_SIZE];
    const struct why_exit *exit = &why->exit[number];
    uint64_t spte = before->spte[before->lowest];
    unsigned level = before->lowest;
    if (exit->cpu == CPU_MISCONFIGURATION && spte_is_mmio(spte, why->mmio_value)) {
        monitor_say(call,
                    "Exit %u: an EPT misconfiguration (49): level %u is an MMIO SPTE, in which "
                    "bits 2:0 are 110b on purpose (write without read).",
                    number + 1, level);
        return;
    }
    if (exit->cpu == CPU_MISCONFIGURATION) {
        ept_misconfig_explain(spte, level, &spte_format.caps, text, sizeof(text));
        monitor_say(call, "Exit %u: an EPT misconfiguration (49): %s.", number + 1, text);
        return;
    }
    if (!(spte & EPT_RWX))
        monitor_say(call, "Exit %u: an EPT violation (48): the entry of level %u is not present.",
                    number + 1, level);
    else
        monitor_say(call, "Exit %u: an EPT violation (48): the leaf of level %u denies the %s.",
                    number + 1, level, access_name(why->access));
}

static void say_exit(struct monitor_call *call, const struct mmu *mmu, const struct mmu_why *why,
                     unsigned number)
{
    const struct why_exit *exit = &why->exit[number];
    const struct ept_path *before = number ? &why->exit[number - 1].after : &why->path;
    uint64_t left = exit->after.spte[exit->after.lowest];
    say_cpu(call, why, number, before);
    if (exit->stale)
        monitor_say(call, "  %s", reasons[exit->stale]);
    if (exit->splits)
        monitor_say(call,
                    "  The large leaf of level %u is split first, into leaves that translate "
                    "the same (T6).",
                    exit->splits);
    monitor_say(call, "  %s", reasons[exit->why]);
    if (exit->links)
        monitor_say(call, "  %u table%s linked on the way.", exit->links,
                    exit->links == 1 ? " is" : "s are");
    if (why->has_slot && !why->populated && exit->result == FAULT_FIXED)
        monitor_say(call, "  A host page is allocated and cleared for it: one of 4 KiB, or a block "
                          "of 2 MiB or 1 GiB if one is free and fits.");
    else if (exit->after.lowest != before->lowest || left != before->spte[before->lowest])
        say_entry(call, mmu, why, "  It leaves behind ", exit->after.lowest, left);
}

/* ---- The end --------------------------------------------------------------------------------- */

static void say_device(struct monitor_call *call, struct bus *bus, const struct mmu_why *why)
{
    struct bus_hint hint = {0};
    bool write = why->access & EPT_WRITE;
    if (why->access & EPT_EXECUTE) {
        monitor_say(call, "In the end the VM ends by memory-fault: the instruction itself lies "
                          "outside RAM.");
        return;
    }
    bus_hint_fill(bus, &hint, why->gpa.v, 1, write);
    if (!hint.sequence)
        monitor_say(call,
                    "In the end the instruction is emulated; no device claims the address, "
                    "so the bus %s.",
                    write ? "drops the write" : "reads it as all ones");
    else
        monitor_say(call,
                    "In the end the instruction is emulated; the bus gives the access to "
                    "\"%s\", at offset %#lx.",
                    hint.region.ops->name, why->gpa.v - hint.region.start);
}

static void say_end(struct monitor_call *call, struct bus *bus, const struct mmu_why *why)
{
    switch (why->end) {
    case WHY_END_MEMORY:
        monitor_say(call, "In the end the guest reaches memory%s.",
                    why->exits ? "" : ", without an exit");
        return;
    case WHY_END_DEVICE:
        say_device(call, bus, why);
        return;
    case WHY_END_TRACKED:
        monitor_say(call, "In the end the hypervisor makes the write in the guest's stead, or lets "
                          "the CPU make it if the instruction is not emulated.");
        return;
    case WHY_END_VE:
        monitor_say(call, "In the end the guest gets #VE: from the CPU, without an exit, or from "
                          "the hypervisor; #DF while its information area is in use.");
        return;
    case WHY_END_REPEATS:
        monitor_say(call, "In the end the guest repeats the access until that is over.");
        return;
    case WHY_END_REFUSED:
        monitor_say(call, "In the end the VM ends: by %s.",
                    why->exits && why->exit[why->exits - 1].why == WHY_BROKEN ? "misconfiguration"
                                                                              : "memory-fault");
        return;
    case WHY_END_MIRROR:
        monitor_say(call, "The CPU walks the external tables, which belong to the secure side; the "
                          "entries above are those of the mirror.");
        return;
    }
}

void why_say_access(struct monitor_call *call, const struct mmu *mmu, struct bus *bus,
                    const struct mmu_why *why)
{
    monitor_say(call,
                "A %s at GPA %#lx, frame %#lx of the %s root, generation %#lx of the slots%s:",
                access_name(why->access), why->gpa.v, why->gfn.v, role_name(why->role),
                (uint64_t)GENERATION(why->generation),
                why->generation & SLOT_UPDATE_IN_PROGRESS ? ", which are being changed" : "");
    say_slot(call, why);
    say_change(call, why);
    for (unsigned level = why->path.top; level >= why->path.lowest; level--)
        say_entry(call, mmu, why, "  ", level, why->path.spte[level]);
    if (bus_doorbell_any(bus, why->gpa.v))
        monitor_say(call, "  A doorbell is at this address: in step 1 of the flow, a write that "
                          "begins there and is a misconfiguration rings it, whatever the slots "
                          "say.");
    for (unsigned i = 0; i < why->exits; i++)
        say_exit(call, mmu, why, i);
    say_end(call, bus, why);
}

/* ---- Debts ----------------------------------------------------------------------------------- */

static void debt_text(uint64_t owed, char *text, size_t size)
{
    static const char *const names[DEBT_REASONS] = {
#define X(name, words) [DEBT_##name] = (words),
        FLUSH_REASONS(X)
#undef X
    };
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 1; i < DEBT_REASONS && used < size; i++)
        if (owed >> i & 1)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", names[i]);
}

#define DEBTS_SAID 4u

void why_say_debts(struct monitor_call *call, const struct mmu *mmu)
{
    unsigned owing = 0;
    char text[100];
    for (unsigned pcpu = 0; pcpu < CPUS_MAX; pcpu++) {
        struct why_debt debt = mmu_why_debt(mmu, pcpu);
        if (!debt.owes || ++owing > DEBTS_SAID)
            continue;
        debt_text(debt.reasons, text, sizeof(text));
        monitor_say(call, "CPU %u owes a flush (%lu debt%s since it paid: %s)%s.", pcpu,
                    debt.debt - debt.paid, debt.debt - debt.paid == 1 ? "" : "s", text,
                    debt.inside ? "; it is in the guest, and may use the old translation until "
                                  "it is kicked"
                                : ", which it pays before its next entry");
    }
    if (owing > DEBTS_SAID)
        monitor_say(call, "%u more CPUs owe a flush.", owing - DEBTS_SAID);
    else if (!owing)
        monitor_say(call,
                    "No CPU owes a flush: whatever a CPU has cached is what these tables say.");
}

/* ---- The fast path --------------------------------------------------------------------------- */

static const char *const replay_texts[] = {
    [REPLAY_SERVES] = "there was no replay entry for it",
    [REPLAY_OTHER_RIP] = "there was no replay entry of this instruction",
    [REPLAY_OTHER_GPA] = "the replay entry was for another address",
    [REPLAY_OTHER_CR3] = "the replay entry was for another CR3",
    [REPLAY_OTHER_MODE] = "its replay entry was from another mode: CPL, EFER, CR4 or CS differed, "
                          "or the guest had flushed its TLB by an exit",
    [REPLAY_OTHER_BUS] = "its replay entry was older than a change of the bus",
    [REPLAY_OTHER_GENERATION] = "its replay entry was of another generation of the slots",
    [REPLAY_OTHER_SEQUENCE] = "its replay entry was older than an invalidation of guest pages (a "
                              "slot, a host page or a side has changed)",
    [REPLAY_OTHER_REGISTERS] = "the registers of the operand's address differed from those of its "
                               "replay entry",
    [REPLAY_OTHER_ENTRY] = "the guest had changed an entry of its page tables on the way to the "
                           "instruction or to the operand",
    [REPLAY_OTHER_BYTES] = "the bytes at RIP differed from those of its replay entry",
    [REPLAY_OTHER_PKRU] = "PKRU differed from that of its replay entry",
};

static const char *const known_texts[] = {
    [KNOWN_SERVES] = "",
    [KNOWN_NO_MOVE] = "the instruction was not decoded yet, or is not a plain MOV in flat 64-bit "
                      "code, which alone are replayed",
    [KNOWN_OTHER_MODE] = "the mode was not that of the last emulated code",
    [KNOWN_TRACED] = "MMIO events are traced, for which each access is emulated",
    [KNOWN_BREAKPOINTS] = "the guest has breakpoints on data, for which each access is emulated",
    [KNOWN_MEMORY] = "it was a write to a tracked page, not MMIO",
    [KNOWN_CODE_END] = "16 bytes at RIP do not lie in one page",
    [KNOWN_CODE_WALK] = "no cached walk to the instruction served",
    [KNOWN_CODE_BYTES] = "the decoded instruction was another one than that at RIP",
    [KNOWN_DATA_WALK] = "no cached walk to the operand served",
    [KNOWN_DATA_WP] = "the walk to the operand depends on CR0.WP, which can change without an exit",
    [KNOWN_OTHER_GPA] = "the operand leads to another address than that of the exit: the CPU used "
                        "an old translation",
    [KNOWN_DATA_END] = "the operand crosses a page boundary",
    [KNOWN_ALIGNMENT] = "the operand is not aligned, and #AC is possible",
    [KNOWN_UNCLAIMED] = "no device claims the address, or the access would be split",
    [KNOWN_FAR] = "the offset in the device exceeds 32 bits",
    [KNOWN_UNPROVEN] = "the MMU had not been asked whether the page is MMIO in this generation of "
                       "the slots",
};

static const char *const walk_texts[] = {
    [WALK_SERVES] = "served",
    [WALK_OTHER_PAGE] = "its slot was empty or held another page",
    [WALK_OTHER_CR3] = "CR3 differed",
    [WALK_OTHER_KEY] = "the kind of access or the mode differed",
    [WALK_OTHER_PKRU] = "PKRU differed",
    [WALK_OTHER_GENERATION] = "the generation of the slots differed",
    [WALK_OTHER_SEQUENCE] = "guest pages had been invalidated",
    [WALK_OTHER_ENTRY] = "the guest had changed an entry that it read",
};

static const char *const decoded_texts[] = {
    [DECODED_SERVES] = "served",
    [DECODED_OTHER_BYTES] = "its slot was empty or held other bytes",
    [DECODED_OTHER_MODE] = "it held the same bytes in code of another size, or none that is kept",
    [DECODED_PAGE_END] = "it is not used, since 16 bytes at RIP exceed the page or CS",
    [DECODED_NOT_RAM] = "it is not used, since the code is not in readable RAM",
};

void why_say_miss(struct monitor_call *call, const struct mmio_vcpu *vcpu)
{
    const struct mmio_miss *miss = &vcpu->cache.miss;
    if (!miss->rip && !miss->gpa.v) {
        monitor_say(call, "Every MMIO access was replayed, or there was none.");
        return;
    }
    monitor_say(call,
                "The last MMIO access that was not replayed was at GPA %#lx, by the "
                "instruction at RIP %#lx:",
                miss->gpa.v, miss->rip);
    monitor_say(call, "  %s.", replay_texts[miss->replay]);
    if (miss->known == KNOWN_SERVES) {
        monitor_say(call,
                    "  It was made by the second fast path, since all its parts were cached.");
        return;
    }
    monitor_say(call, "  The second fast path did not make it either: %s.",
                known_texts[miss->known]);
    monitor_say(call, "  It was emulated. The decoded instruction: %s.",
                decoded_texts[miss->decoded]);
    monitor_say(call, "  The cached walk to the instruction: %s.", walk_texts[miss->code]);
    monitor_say(call, "  The cached walk to the operand: %s.", walk_texts[miss->data]);
}
