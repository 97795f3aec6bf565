/* SPDX-License-Identifier: MIT */
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
 * no lock and allocates nothing. What readers find without a lock stays as long as their epoch: a
 * pCPU's epoch ends where it calls tlb_enter() or one of the functions here that say they may wait.
 */
#pragma once

#include "mmu/types.h"

struct ept_caps;

/* The switches, the same for all VMs. */
struct mmu_config {
    bool mmio_caching;              /* MMIO SPTEs; off: each MMIO access is a violation */
    bool ad;                        /* let the CPU keep accessed and dirty bits, if it can */
    bool huge;                      /* mappings of 2 MiB and 1 GiB, if the CPU can */
    bool nx_huge;                   /* these may not be executed (rule N1) */
    bool pml;                       /* the vCPUs log dirty pages by PML; needs `ad` */
    unsigned l1tf_cache_bits;       /* 0: the CPU does not have L1TF; else its L1D's tag width */
    uint64_t slot_generation_start; /* of every new VM; below bit 62 */
};

/* Decides the format of all tables. Before the first mmu_create(); again only when no VM is left.
 * Afterwards mmu_config() tells what is done, which may be less than was asked for (rule S10).
 * Returns -EINVAL for a generation out of range. */
int mmu_setup(const struct ept_caps *caps, const struct mmu_config *config) MUST_CHECK;
const struct mmu_config *mmu_config(void);

/* The highest level at which leaves are made. */
unsigned mmu_levels(void);

/* A VM without memory, in storage of the caller's. Returns -ENOMEM. */
int mmu_create(struct mmu *mmu) MUST_CHECK;

/* Frees tables and guest memory, after a flush if one is owed. No vCPU may enter again. */
void mmu_destroy(struct mmu *mmu);

/* What is left to be done of earlier changes, memory to be freed above all, a piece at a time: so
 * that whoever does it can look at other things in between. mmu_do_chore() returns whether more can
 * be done now. No locks held. */
static inline bool mmu_has_chores(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->doomed_used, __ATOMIC_RELAXED) ||
           __atomic_load_n(&mmu->dying.top, __ATOMIC_RELAXED) ||
           __atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED) > RETIRED_KEPT;
}
bool mmu_do_chore(struct mmu *mmu);

/* Declares bit `bit` of the VM's guest-physical addresses stolen; see mmu/root.h. Before its first
 * slot, at most STOLEN_MAX times. -EINVAL: too late, too many, taken, or a purpose that stands
 * already; -ERANGE: below STOLEN_LOW or not below the CPU's MAXPHYADDR; -ENOTSUP: the CPU has no
 * execute-only pages. */
int mmu_steal_bit(struct mmu *mmu, unsigned bit, enum stolen_purpose purpose) MUST_CHECK;

/* The frame that an address of the guest means, whatever its stolen bits. */
static inline gfn_t mmu_gfn(const struct mmu *mmu, gpa_t gpa)
{
    return stolen_strip(&mmu->stolen, gpa_to_alias(gpa));
}

/* What accesses to this address may do, and what they mean: ROLE_ bits. */
static inline uint32_t mmu_role(const struct mmu *mmu, gpa_t gpa)
{
    return root_of(mmu->roots, &mmu->stolen, gpa_to_alias(gpa))->role;
}

/* Does the VM tell private from shared memory? */
static inline bool mmu_has_sides(const struct mmu *mmu)
{
    return mmu->roots[mmu->root_count - 1].role & ROLE_SHARED;
}

/* Puts pages on the shared or the private side, cleared if they come from the other: those from
 * `gpa`, without stolen bits, to the end of its slot or of its CONVERT_FRAMES, or to where some
 * follow that are there already; at most `pages`. Returns how many that were; -EFAULT: no slot
 * there; -EINVAL: not aligned, none, or a VM without sides; -EINPROGRESS as below. Meanwhile
 * neither side has them: the guest faults until it is over, the hypervisor's own accesses are
 * refused. May wait as the operations on slots do. */
#define CONVERT_FRAMES 32u /* to clear one takes 512 stores; then the caller looks around */
int64_t mmu_convert(struct mmu *mmu, gpa_t gpa, uint64_t pages, bool shared) MUST_CHECK;

/* Makes it a VM whose guest takes MMIO as #VE: its MMIO SPTEs are violations that the CPU may
 * convert (rule S12), and so is what an execute-only address refuses. After mmu_steal_bit(), before
 * its first slot. -ENOTSUP while MMIO caching is off, because the #VE
 * comes from the SPTE. */
int mmu_take_ve(struct mmu *mmu) MUST_CHECK;

static inline bool mmu_has_ve(const struct mmu *mmu)
{
    return mmu->mmio_value == 0;
}

/* The slots. `flags` are MEMSLOT_FLAGS, of which those FOR_LIFE count at its birth only; `gpa` and
 * sizes are of whole pages. Each refusal is logged as a sentence: -EBUSY (pinned), -EINVAL
 * (alignment, size, flags, unknown id), -ERANGE (beyond the guest-physical limit), -EEXIST (id
 * taken or overlap), -ENOSPC (too many slots), -ENOMEM.
 * A new slot's memory reads as zero; a moved slot keeps its memory; a deleted one's is freed. When
 * these return, no vCPU uses what was there before. The caller holds no pointer into guest memory
 * or slots: they may wait until all pCPUs have passed an epoch. */
int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages,
                 uint32_t flags) MUST_CHECK;
int mmu_slot_delete(struct mmu *mmu, uint32_t id) MUST_CHECK;
int mmu_slot_move(struct mmu *mmu, uint32_t id, gpa_t gpa) MUST_CHECK;
int mmu_slot_flags(struct mmu *mmu, uint32_t id, uint32_t flags) MUST_CHECK;

/* The same in pieces, as every guest's request is: -EINPROGRESS until it is over. The caller looks
 * around and calls it again, with the same `change`, which it has all zero but for what is asked.
 * A change that nobody calls again is finished by whoever calls one of the functions that say they
 * may return -EINPROGRESS: these do some of what is in progress, and are to be called again. */
int mmu_change(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* Does some of what is in progress, for a fault that waits for it. As a change, it may wait. */
void mmu_help(struct mmu *mmu);

/* Does something wait for this pCPU: a kick, another vCPU's turn, the end of its VM? Asked between
 * two pieces of what takes long. Supplied by vm/pcpu.c, and by the hosted tests. */
bool mmu_pauses(void);

/* For tests: jumps to a later generation and drops all SPTEs, so that none of an earlier round can
 * look current. -EINVAL if `generation` is earlier (a vCPU's MMIO cache may hold it) or out of
 * range; -EINPROGRESS as above. */
int mmu_set_generation(struct mmu *mmu, uint64_t generation) MUST_CHECK;

/* Drops the SPTEs of a range, MMIO SPTEs too, and keeps the memory. -EINVAL, -ERANGE as above. The
 * second one in pieces: -EINPROGRESS until it is over, with the same `walk`, which begins all zero.
 */
int mmu_zap(struct mmu *mmu, gpa_t gpa, uint64_t pages) MUST_CHECK;
int mmu_zap_some(struct mmu *mmu, gpa_t gpa, uint64_t pages, struct mmu_walk *walk) MUST_CHECK;

/* The lowest entry of the walk to `gpa`, and its level. */
uint64_t mmu_spte(const struct mmu *mmu, gpa_t gpa, unsigned *level);

/* The EPTP for the VMCS; the same for the whole life of the VM. */
static inline uint64_t mmu_eptp(const struct mmu *mmu)
{
    return mmu->eptp;
}

/* Dirty logging, see mmu/dirty.h. Gets and clears the bitmap of `words` times 64 pages of a slot,
 * from `page` on, a multiple of 64. A write that is not in it will be in the next one; the memory
 * as it is after the call has all writes that are in it. -EINVAL: no such slot, not logging, or out
 * of its range; -EINPROGRESS as above. */
int mmu_dirty_get(struct mmu *mmu, uint32_t id, uint64_t page, uint64_t *bitmap,
                  size_t words) MUST_CHECK;

/* Takes over what a vCPU's PML buffer holds. Before tlb_leave(). */
void mmu_pml_note(struct mmu *mmu, const uint64_t *addresses, size_t count);

/* Does any slot log dirty pages? */
static inline bool mmu_is_logging(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->logging, __ATOMIC_RELAXED);
}

/* Must vCPUs run with PML? Asked by each of them at its first entry and whenever tlb_enter() says
 * so; it stays on until nobody logs any more. */
bool mmu_wants_pml(const struct mmu *mmu);

/* Write tracking of a page, counted: from the return of mmu_track() on every write of the guest
 * faults with FAULT_WRITE_PROTECTED. -EFAULT: no slot; -ENOSPC: tracked 65,535 times; -ENOMEM;
 * -EINVAL: not tracked; -EINPROGRESS as above. A slot that is moved or deleted takes its counts
 * along. */
int mmu_track(struct mmu *mmu, gpa_t gpa) MUST_CHECK;
int mmu_untrack(struct mmu *mmu, gpa_t gpa) MUST_CHECK;

/* A write to a tracked page that the caller cannot make itself, but the CPU can: a page table's A
 * and D bits, the frame of an event, an instruction that is not emulated. mmu_track_open() lets the
 * page be written until mmu_track_close(), which returns when no CPU can write it any more; the
 * write has been seen, as FAULT_WRITE_PROTECTED, and what else is written meanwhile counts as part
 * of it. An opening is a vCPU's own, and all zero while nothing is open. -ENOSPC: too many pages.
 * Neither holds the slots' lock, a lock or pointer of the MMU must not be held. */
#define TRACK_OPEN_MAX 32
struct track_opening {
    struct track_opening *next;
    unsigned count;
    gfn_t gfn[TRACK_OPEN_MAX];
};
int mmu_track_open(struct mmu *mmu, struct track_opening *opening, gpa_t gpa) MUST_CHECK;
void mmu_track_close(struct mmu *mmu, struct track_opening *opening);

/* Gives the page or block behind `gpa` another place in host memory, with its contents. -EFAULT: no
 * slot, or nothing there yet; -EBUSY: pinned; -ENOMEM; -EINPROGRESS as above. */
int mmu_host_remap(struct mmu *mmu, gpa_t gpa) MUST_CHECK;

/* How many leaves of a range have been used since they were asked last. No lock, no flush: a use
 * that the TLB answered may be missed (rule N4). The second one in pieces, as mmu_zap_some(), with
 * the answer in walk->count. */
uint64_t mmu_age(struct mmu *mmu, gpa_t gpa, uint64_t pages);
int mmu_age_some(struct mmu *mmu, gpa_t gpa, uint64_t pages, struct mmu_walk *walk) MUST_CHECK;

/* Once in a while: lets a part, one in NX_RATIO, of what executions have split become large again.
 * Returns how many. */
#define NX_RATIO 60u
unsigned mmu_nx_recover(struct mmu *mmu);

/* The page behind `gpa` as the tables say, and the size of the leaf: what the guest would reach
 * without a fault. Takes no lock; in an epoch. -ENOENT if there is none (rule W3). */
int mmu_gpa_to_pfn(const struct mmu *mmu, gpa_t gpa, hpa_t *page, unsigned *level) MUST_CHECK;

/* Sums over all pCPUs. */
struct mmu_stats mmu_stats(const struct mmu *mmu);

/* Sums over all reasons. */
uint64_t mmu_invept_count(const struct mmu *mmu);
uint64_t mmu_invvpid_count(const struct mmu *mmu);

/* How many INVEPTs paid a debt for this reason. One may pay several. */
uint64_t mmu_invept_for(const struct mmu *mmu, enum debt_reason reason);

/* What a guest access wants; also the error code of a fault (rule F1). */
enum mmu_access {
    ACCESS_READ = 1u << 0,
    ACCESS_WRITE = 1u << 1,
    ACCESS_FETCH = 1u << 2,
    FAULT_PRESENT = 1u << 3,  /* the entry allowed something: bits 5:3 of the qualification */
    FAULT_FINAL = 1u << 4,    /* the access itself; clear: a walk of the guest's own tables */
    FAULT_RESERVED = 1u << 5, /* a misconfiguration; never together with the others */
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
    FAULT_VE,              /* the guest's own to handle: #VE, see vm/ve.h */
    FAULT_RESULTS,
};

/* What the MMU learned of an MMIO address, for the vCPU's MMIO cache (rule C1). */
struct mmio_info {
    alias_t alias;
    uint64_t generation; /* 0: do not cache */
    bool renewed;        /* the MMIO SPTE was stale, and is current now */
};

/* Handles an EPT violation, or a misconfiguration that mmu_mmio_check() called stale.
 * Takes the MMU's lock, shared. Never returns FAULT_CONTINUE or FAULT_INVALID. On FAULT_EMULATE,
 * and then alone, `info` says what may be cached; a write to a read-only slot emulates with
 * info->generation 0. */
int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info) MUST_CHECK;

/* Steps 3 to 6 of the misconfiguration flow, without a lock: FAULT_EMULATE (MMIO SPTE, current or
 * made so), FAULT_INVALID (stale: call mmu_fault()), FAULT_RETRY (not MMIO any more), -EINVAL (a
 * real misconfiguration: the levels have been dumped, end this VM). In an epoch. */
int mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info) MUST_CHECK;

/* The 64-bit generation of the slots. Bit 63 is set while an update is in progress. */
static inline uint64_t mmu_slot_generation(const struct mmu *mmu)
{
    const struct memslots *slots = __atomic_load_n(&mmu->slots, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&slots->generation, __ATOMIC_ACQUIRE);
}

/* The one accessor to guest memory (decision D16): copies between a buffer and guest-physical
 * memory, across pages, populating as needed. `access` is ACCESS_READ, ACCESS_WRITE or ACCESS_FETCH
 * and the root's policy applies. Returns 0; -EFAULT where no slot covers a byte (nothing written
 * before the first such byte is undone) or the slot refuses the access, so that a device may be
 * meant; -EACCES where the role or the side refuses it, or no device can be meant; -ENOMEM. A
 * naturally aligned access of 2, 4 or 8 bytes is made at once. */
int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size,
               enum mmu_access access) MUST_CHECK;
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size) MUST_CHECK;

/* The same for loaders: read-only slots accept it. */
int guest_load(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size) MUST_CHECK;

/* Compare-exchange of one naturally aligned table entry of the guest of 4 or 8 bytes (A and D bits
 * of its own page tables). Returns 0, -EAGAIN if the entry is no longer `old`, -EFAULT, -EACCES,
 * -ENOMEM, -EINVAL for another size or alignment. */
int guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new) MUST_CHECK;

/* The host address of the page that holds `gpa`, for memoised accesses of this kind, or NULL: no
 * RAM slot, not populated yet, or against the role. Valid until the slot generation or the
 * invalidation sequence changes. */
const void *guest_page(struct mmu *mmu, gpa_t gpa, enum mmu_access access);

/* Makes all that vCPUs and faults remember of guest pages be looked up again. */
void mmu_forget(struct mmu *mmu);

/* Counts invalidations of guest pages (unmaps, moves, host remaps). Odd while one is in progress.
 */
static inline uint64_t mmu_invalidate_sequence(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->invalidate_sequence, __ATOMIC_ACQUIRE);
}
