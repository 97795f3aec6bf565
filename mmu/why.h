/* SPDX-License-Identifier: MIT */
/*
 * Why an access of a guest ends as it does: what the CPU makes of the tables, which decision of the
 * MMU answers each exit, and what the guest sees in the end.
 *
 * mmu_why() changes nothing. It asks the same functions that faults ask (mmu/decide.h), applied to
 * a copy of the entries on the way to the address, and carries out on the copy what a fault would
 * do to the tables. So its answer is what the access would do if it were made now and nobody else
 * changed anything meanwhile. test_mmu_why.c compares it with what then happens.
 */
#pragma once

#include "mmu/mmu.h"

/* The decisions, in the order in which they are made. why_result() is the result of the exit that
 * a decision answers. */
enum why {
    WHY_NEXT, /* not decided here: inside the MMU only */

    /* By the role of the root. */
    WHY_ROLE_REFUSES,  /* the role never grants this right */
    WHY_ROLE_CONVERTS, /* the role refuses, and the CPU makes #VE of it */
    WHY_MIRROR,        /* private memory of a TD: the secure side decides */

    /* By the entry, without a lock. */
    WHY_LEAF_ALLOWS,     /* another CPU has mapped it meanwhile */
    WHY_ACCESS_RESTORED, /* aging had taken the rights of the leaf */
    WHY_WRITE_RESTORED,  /* W was taken to notice this write */

    /* Where no slot covers the frame. */
    WHY_NO_DEVICES,  /* addresses of this role reach no devices */
    WHY_UNCACHED,    /* MMIO, and there are no MMIO SPTEs */
    WHY_TOO_HIGH,    /* MMIO, and the frame does not fit into an SPTE */
    WHY_MMIO_STORED, /* MMIO: an MMIO SPTE is stored */
    WHY_MMIO_FROZEN, /* MMIO, but another CPU is changing an entry */
    WHY_MMIO_STRAY,  /* a leaf where there is no slot */

    /* By the slot. */
    WHY_SLOT_LEAVES, /* it is being deleted or moved */
    WHY_READ_ONLY,   /* a write */
    WHY_OTHER_SIDE,  /* the page is on the other side */
    WHY_PAGES_LEAVE, /* frames lose their host pages or rights right now */
    WHY_TRACKED,     /* a write to a tracked page */

    /* By the tables. */
    WHY_MAP_ALLOWS,    /* a leaf allows it already */
    WHY_MAP_NEW,       /* a leaf is stored into an empty entry */
    WHY_MAP_UPGRADED,  /* the leaf gets the missing rights */
    WHY_MAP_OUTDATED,  /* the leaf is from before a change of the flags */
    WHY_MAP_FROZEN,    /* another CPU is changing an entry */
    WHY_MAP_COLLAPSED, /* a large leaf replaces a table */

    /* Of a misconfiguration: steps 3, 4 and 6 of the flow. */
    WHY_MMIO_CURRENT,  /* current */
    WHY_MMIO_RENEWED,  /* stale, but there is still no slot */
    WHY_MMIO_COVERED,  /* stale, and a slot covers the frame */
    WHY_MMIO_UPDATING, /* the slots are being changed */
    WHY_BROKEN,        /* a real misconfiguration */
    WHY_COUNT,
};

/* What the CPU does with an access that no cached translation serves. */
enum cpu_answer {
    CPU_TRANSLATES,
    CPU_VIOLATION,
    CPU_CONVERTS, /* a violation that becomes #VE without an exit */
    CPU_MISCONFIGURATION,
};

/* What the guest sees in the end. */
enum why_end {
    WHY_END_MEMORY,  /* it accesses RAM */
    WHY_END_DEVICE,  /* the instruction is emulated: the bus decides */
    WHY_END_TRACKED, /* the hypervisor makes the write, or lets the CPU make it once */
    WHY_END_VE,      /* #VE */
    WHY_END_REPEATS, /* it repeats the access until another CPU is done */
    WHY_END_REFUSED, /* the VM ends */
    WHY_END_MIRROR,  /* as the secure side decides; vm/td_violation.h */
};

/* An exit, and its answer. */
struct why_exit {
    enum cpu_answer cpu;
    uint32_t error_code; /* of a violation; of a misconfiguration FAULT_RESERVED */
    enum why stale;      /* of a misconfiguration that became a fault: WHY_MMIO_..., else 0 */
    enum why why;
    int result;            /* of mmu_fault() or mmu_mmio_check() */
    unsigned splits;       /* level of a large leaf that is split before, else 0 */
    unsigned links;        /* tables that are linked before */
    struct ept_path after; /* the entries that the exit leaves behind */
};
#define WHY_EXITS 4u

struct mmu_why {
    gpa_t gpa;
    uint64_t access; /* EPT_READ, EPT_WRITE or EPT_EXECUTE */
    alias_t alias;
    gfn_t gfn;
    uint32_t role;
    uint64_t mmio_value;

    uint64_t generation, sequence; /* of the slots; of invalidations, odd during one */
    bool has_slot;
    struct memslot slot; /* valid if has_slot; its pointers must not be followed */
    bool shared;         /* the page's side, if slot.shared */
    bool dirty;          /* its bit in the log, if slot.dirty */
    unsigned tracked;    /* how often it is tracked, if slot.tracked */
    bool open;           /* a tracked page may be written for now */
    bool populated;      /* it has a host page: */
    hpa_t page;
    unsigned page_level; /* of the block of host memory that contains it */
    bool changing;       /* a change of the slots is in progress: */
    enum mmu_change_kind change;
    uint32_t change_slot;

    struct ept_path path; /* as it is now; of a mirror, its own entries */
    unsigned exits;
    struct why_exit exit[WHY_EXITS]; /* that the access would cause, in their order */
    enum why_end end;
};

/* Explains an access to `gpa` that needs one right. The caller is in an epoch. Takes the MMU's
 * lock, shared, for no longer than a fault. */
void mmu_why(struct mmu *mmu, gpa_t gpa, uint64_t access, struct mmu_why *why);

/* The result of the exit that this reason answers; for WHY_UNCACHED, WHY_TOO_HIGH and
 * WHY_MMIO_STORED in a VM that takes #VE, FAULT_VE instead. */
int why_result(const struct mmu *mmu, enum why why);

/* What a pCPU owes. */
struct why_debt {
    bool known;  /* it has been in the guest */
    bool inside; /* it is in the guest, or about to enter */
    bool owes;
    uint64_t paid, debt;
    uint64_t reasons; /* bit mask of enum debt_reason */
};
struct why_debt mmu_why_debt(const struct mmu *mmu, unsigned pcpu);
