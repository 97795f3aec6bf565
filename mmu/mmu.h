/*
 * The MMU of one VM: which guest-physical address means which host page, and which means a device.
 *
 * A VM's memory is a set of *memslots*, each a range of guest frames with host pages behind it that
 * are allocated at first touch. EPT tables are filled from the slots when the guest faults. A frame
 * that no slot covers is MMIO: its table entry becomes an *MMIO SPTE*, a word that the CPU takes
 * for a misconfiguration, and that carries the generation of the slots. Each change of the slots
 * makes a new generation, so every older MMIO SPTE is known to be stale without being looked for.
 *
 * Removing a translation owes a TLB flush. The debt is written into a ledger at the one function
 * that stores SPTEs, and paid at VM entry or before a page is given another use.
 *
 * mmu_fault() serves EPT violations, mmu_mmio_check() the repeated access to MMIO. The latter takes
 * no lock and allocates nothing.
 */
#pragma once

#include "lib/compiler.h"
#include "lib/types.h"

struct mmu;

/* What a guest access wants; also the error code of a fault (rule F1). */
enum mmu_access {
    ACCESS_READ = 1u << 0,
    ACCESS_WRITE = 1u << 1,
    ACCESS_FETCH = 1u << 2,
    FAULT_PRESENT = 1u << 3,  /* the entry allowed something: bits 5:3 of the qualification */
    FAULT_FINAL = 1u << 4,    /* the access itself; clear: a walk of the guest's own tables */
    FAULT_RESERVED = 1u << 5, /* a misconfiguration; never together with the others */
    FAULT_PRIVATE = 1u << 6,
};

/* The outcome of a fault (rule F6). Negative numbers are errors: -EINVAL, -ENOMEM, -EFAULT. */
enum fault_result {
    FAULT_CONTINUE,        /* inside the MMU only: go on with the next step */
    FAULT_RETRY,           /* enter the guest again, it will fault again or not */
    FAULT_EMULATE,         /* MMIO: emulate the instruction */
    FAULT_WRITE_PROTECTED, /* a write to a tracked page */
    FAULT_INVALID,         /* inside the MMU only: not decided on the fast path */
    FAULT_FIXED,           /* mapped */
    FAULT_SPURIOUS,        /* was already mapped as needed */
};

/* What the MMU learned of an MMIO address, for the vCPU's MMIO cache (rule C1). */
struct mmio_info {
    gfn_t gfn;
    uint64_t generation; /* 0: do not cache */
};

/* Handles an EPT violation, or a misconfiguration that mmu_mmio_check() called stale.
 * Takes the MMU's lock. Never returns FAULT_CONTINUE or FAULT_INVALID. On FAULT_EMULATE and when no
 * slot covers the address, `info` says what may be cached; a write to a read-only slot emulates
 * with info->generation 0. */
int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info) MUST_CHECK;

/* Steps 3 to 6 of the misconfiguration flow, without a lock: FAULT_EMULATE (MMIO SPTE, generation
 * current), FAULT_INVALID (stale: call mmu_fault()), FAULT_RETRY (not MMIO any more), -EINVAL (a
 * real misconfiguration: the levels have been dumped, end this VM). */
int mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info) MUST_CHECK;

/* The 64-bit generation of the slots. Bit 63 is set while an update is in progress. */
uint64_t mmu_slot_generation(const struct mmu *mmu);

/* The one accessor to guest memory (decision D16): copies between a buffer and guest-physical
 * memory, across pages, populating as needed. `access` is ACCESS_READ, ACCESS_WRITE or ACCESS_FETCH
 * and the root's policy applies. Returns 0, -EFAULT where no slot covers a byte (nothing written
 * before the first such byte is undone), -ENOMEM. */
int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size,
               enum mmu_access access) MUST_CHECK;
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size) MUST_CHECK;

/* Compare-exchange of one naturally aligned table entry of the guest of 4 or 8 bytes (A and D bits
 * of its own page tables). Returns 0, -EAGAIN if the entry is no longer `old`, -EFAULT. */
int guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new) MUST_CHECK;

/* The host address of the page that holds `gfn`, for memoised reads, or NULL: no readable RAM slot
 * or not populated yet. Valid until the slot generation or the invalidation sequence changes. */
const void *guest_page(struct mmu *mmu, gfn_t gfn);

/* Counts invalidations of guest pages (unmaps, moves, host remaps). Odd while one is in progress.
 */
uint64_t mmu_invalidate_sequence(const struct mmu *mmu);
