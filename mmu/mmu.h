/* SPDX-License-Identifier: MIT */
/*
 * The MMU of one VM: it decides which guest-physical addresses lead to which host pages, and which
 * ones are MMIO.
 *
 * A VM's memory is a set of *memslots*. Each is a range of guest frames whose host pages are
 * allocated at first touch. Faults of the guest fill the EPT tables from the slots. A frame that no
 * slot covers is MMIO: its entry becomes an *MMIO SPTE*, which the CPU takes for a misconfiguration
 * and which carries the generation of the slots. Each change of the slots makes a new generation,
 * so older MMIO SPTEs are recognised as stale, and nobody has to search for them.
 *
 * Removing a translation owes a TLB flush. The one function that stores SPTEs records the debt in a
 * ledger; it is paid at VM entry, and before the page is reused.
 *
 * mmu_fault() handles EPT violations; mmu_mmio_check() handles repeated accesses to MMIO without
 * locking or allocating. What is read without a lock stays valid for the reader's epoch. A pCPU's
 * epoch ends when it calls tlb_enter() or a function below that may wait.
 */
#pragma once

#include "mmu/types.h"

struct ept_caps;

/* The configuration, which all VMs share. */
struct mmu_config {
    bool mmio_caching;              /* make MMIO SPTEs; off: each MMIO access is a violation */
    bool ad;                        /* use the CPU's accessed and dirty bits, if it has them */
    bool huge;                      /* map 2 MiB and 1 GiB at once, if the CPU can */
    bool nx_huge;                   /* make large pages non-executable (rule N1) */
    bool pml;                       /* log dirty pages by PML; needs `ad` */
    unsigned l1tf_cache_bits;       /* width of the L1D's tags on a CPU with L1TF, else 0 */
    uint64_t slot_generation_start; /* of every new VM; below bit 62 */
};

/* Decides the format of all tables. Called before the first mmu_create(), and again only while
 * there is no VM. Afterwards mmu_config() returns the configuration in force, which may be less
 * than was requested (rule S10). Returns 0, or -EINVAL if the generation is out of range. */
int mmu_setup(const struct ept_caps *caps, const struct mmu_config *config) MUST_CHECK;
const struct mmu_config *mmu_config(void);

/* The highest level at which leaves are made: EPT_LEVEL_4K to EPT_LEVEL_1G. */
unsigned mmu_levels(void);

/* Initialises the MMU of a VM that has no memory yet, in the caller's storage. Returns 0 or
 * -ENOMEM. */
int mmu_create(struct mmu *mmu) MUST_CHECK;

/* Frees the tables and the guest's memory, after a flush if one is owed. No vCPU of the VM may
 * enter again. mmu_destroy_piece() does a piece of that, of at most 30,000 instructions, and
 * returns true when it was the last one. */
void mmu_destroy(struct mmu *mmu);
bool mmu_destroy_piece(struct mmu *mmu) MUST_CHECK;

/* Chores are what earlier changes have left to do, mostly memory that is to be freed, and the
 * recovery of large pages. mmu_do_chore() does one short piece, so that its caller can attend to
 * other things in between, and returns whether more can be done now. The caller holds no locks. */
static inline bool mmu_has_chores(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->doomed_used, __ATOMIC_RELAXED) ||
           __atomic_load_n(&mmu->dying.top, __ATOMIC_RELAXED) ||
           __atomic_load_n(&mmu->retired_used, __ATOMIC_RELAXED) > RETIRED_KEPT ||
           __atomic_load_n(&mmu->nx.wanted, __ATOMIC_RELAXED);
}
bool mmu_do_chore(struct mmu *mmu);

/* Declares bit `bit` of the VM's guest-physical addresses a stolen bit; see mmu/root.h. Allowed
 * before the VM has its first slot, and at most STOLEN_MAX times. Returns 0; -EINVAL if it is too
 * late, or if the bit or its purpose is taken already; -ERANGE if the bit is below STOLEN_LOW or
 * not below the CPU's MAXPHYADDR; -ENOTSUP if the CPU has no execute-only pages. */
int mmu_steal_bit(struct mmu *mmu, unsigned bit, enum stolen_purpose purpose) MUST_CHECK;

/* The guest frame at an address, whose stolen bits are ignored. */
static inline gfn_t mmu_gfn(const struct mmu *mmu, gpa_t gpa)
{
    return stolen_strip(&mmu->stolen, gpa_to_alias(gpa));
}

/* The role (ROLE_ bits) of the root to which the address belongs. */
static inline uint32_t mmu_role(const struct mmu *mmu, gpa_t gpa)
{
    return root_of(mmu->roots, &mmu->stolen, gpa_to_alias(gpa))->role;
}

/* Does the VM tell private from shared memory? */
static inline bool mmu_has_sides(const struct mmu *mmu)
{
    return mmu->roots[mmu->root_count - 1].role & ROLE_SHARED;
}

/* Puts up to `pages` pages from `gpa` on, an address without stolen bits, on the shared or the
 * private side. Pages that come from the other side are cleared. One call stops at the end of the
 * slot, at the next multiple of CONVERT_FRAMES, and behind the first run of pages that it had to
 * convert. Returns how many pages from `gpa` on are on the wanted side then; -EFAULT if no slot
 * covers `gpa`; -EINVAL if `gpa` is not aligned, `pages` is 0 or the VM has no sides; -EINPROGRESS
 * as mmu_change(). In a protected VM (mmu/mirror.h) a page that comes from the other side gets
 * another host page, and other errors are -EBUSY: the slot is pinned; -ENOMEM; and -EIO: the secure
 * side has refused, and the first page is private still. During the conversion the pages belong to
 * neither side: accesses of the guest fault until it is over, and accesses of the hypervisor are
 * refused. Locks and waiting as for the operations on slots. */
#define CONVERT_FRAMES 32u /* clearing a frame takes 512 stores: a short piece of work */
int64_t mmu_convert(struct mmu *mmu, gpa_t gpa, uint64_t pages, bool shared) MUST_CHECK;

/* Makes the guest receive MMIO as #VE: the VM's MMIO SPTEs cause EPT violations that the CPU may
 * convert to #VE (rule S12), and so do accesses that an execute-only address refuses. Called after
 * mmu_steal_bit() and before the first slot. Returns 0, or -ENOTSUP while MMIO caching is off: it
 * is the MMIO SPTE that makes the CPU deliver #VE. */
int mmu_take_ve(struct mmu *mmu) MUST_CHECK;

static inline bool mmu_has_ve(const struct mmu *mmu)
{
    return mmu->mmio_value == 0;
}

/* Operations on slots. `flags` are MEMSLOT_FLAGS; MEMSLOT_FOR_LIFE flags are fixed when the slot is
 * added. `gpa` is aligned to pages. The functions return 0 or, after a message, -EBUSY (pinned),
 * -EINVAL (alignment, size, flags, unknown id), -ERANGE (beyond the guest-physical limit), -EEXIST
 * (id taken, or overlap), -ENOSPC (too many slots) or -ENOMEM.
 * The memory of a new slot reads as zero; a moved slot keeps its memory; that of a deleted slot is
 * freed. When a function returns, no vCPU uses the old mappings. The functions may wait until all
 * pCPUs have passed an epoch, so the caller holds no lock of the MMU and no pointer into guest
 * memory or slots. */
int mmu_slot_add(struct mmu *mmu, uint32_t id, gpa_t gpa, uint64_t pages,
                 uint32_t flags) MUST_CHECK;
int mmu_slot_delete(struct mmu *mmu, uint32_t id) MUST_CHECK;
int mmu_slot_move(struct mmu *mmu, uint32_t id, gpa_t gpa) MUST_CHECK;
int mmu_slot_flags(struct mmu *mmu, uint32_t id, uint32_t flags) MUST_CHECK;

/* Carries out one such operation in short pieces, as every request of a guest is: returns
 * -EINPROGRESS until it is over. The caller then attends to other things and calls again with the
 * same `change`, all of whose fields were zero at first but for the request. A change whose caller
 * never calls again is carried on by the other functions that return -EINPROGRESS: they work on the
 * change that is in progress, and are to be called again. */
int mmu_change(struct mmu *mmu, struct mmu_change *change) MUST_CHECK;

/* Carries on the change that is in progress, for a fault that waits for it. Locks and waiting as
 * for the operations on slots. */
void mmu_help(struct mmu *mmu);

/* Is something waiting for this pCPU: a kick, another vCPU's turn, the end of its VM? Long
 * operations ask between two pieces. Supplied by vm/pcpu.c, and by the hosted tests. */
bool mmu_pauses(void);

/* For tests: sets a later generation and drops all SPTEs, so that no MMIO SPTE of an earlier
 * generation can look current. Returns 0; -EINVAL if `generation` is earlier than the current one
 * (the MMIO cache of a vCPU may hold it) or out of range; -EINPROGRESS as mmu_change(). */
int mmu_set_generation(struct mmu *mmu, uint64_t generation) MUST_CHECK;

/* Drops the SPTEs of a range, including MMIO SPTEs, and keeps the memory. Return 0, or -EINVAL or
 * -ERANGE as the operations on slots. mmu_zap_some() works in pieces: it returns -EINPROGRESS until
 * it is over, and is called again with the same `walk`, which is all zero at first. */
int mmu_zap(struct mmu *mmu, gpa_t gpa, uint64_t pages) MUST_CHECK;
int mmu_zap_some(struct mmu *mmu, gpa_t gpa, uint64_t pages, struct mmu_walk *walk) MUST_CHECK;

/* The lowest entry of the walk to `gpa`, and its level; of a private address in a VM with a mirror,
 * that of the mirror, or NONPRESENT if the page is BLOCKED. */
uint64_t mmu_spte(const struct mmu *mmu, gpa_t gpa, unsigned *level);

/* The EPTP for the VMCS; the same for the whole life of the VM. */
static inline uint64_t mmu_eptp(const struct mmu *mmu)
{
    return mmu->eptp;
}

/* Dirty logging; see mmu/dirty.h. Reads and clears the dirty bits of `words` * 64 pages of a slot,
 * from `page` on, which is a multiple of 64. All writes that are reported here are in memory when
 * the function returns; any other write will be reported by a later call. Returns 0; -EINVAL if
 * there is no such slot, it does not log, or the range exceeds it; -EINPROGRESS as mmu_change(). */
int mmu_dirty_get(struct mmu *mmu, uint32_t id, uint64_t page, uint64_t *bitmap,
                  size_t words) MUST_CHECK;

/* Enters the addresses in a vCPU's PML buffer into the logs. Called before tlb_leave(). */
void mmu_pml_note(struct mmu *mmu, const uint64_t *addresses, size_t count);

/* Does any slot log dirty pages? */
static inline bool mmu_is_logging(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->logging, __ATOMIC_RELAXED);
}

/* Must vCPUs run with PML? Each vCPU asks at its first entry, and whenever tlb_enter() returns
 * true. PML stays on until no slot logs any more. */
bool mmu_wants_pml(const struct mmu *mmu);

/* Write tracking of a page. Calls are counted. After mmu_track() has returned 0, every write of the
 * guest to the page faults with FAULT_WRITE_PROTECTED until mmu_untrack() has been called as often.
 * Return 0; -EFAULT if no slot covers `gpa`; -ENOSPC if it is tracked 65,535 times; -ENOMEM;
 * -EINVAL if it is not tracked; -EINPROGRESS as mmu_change(). The counts move with their slot, and
 * are deleted with it. */
int mmu_track(struct mmu *mmu, gpa_t gpa) MUST_CHECK;
int mmu_untrack(struct mmu *mmu, gpa_t gpa) MUST_CHECK;

/* Lets the guest make a write to tracked pages that the hypervisor has noticed, by
 * FAULT_WRITE_PROTECTED, but cannot make in its stead: A and D bits of its page tables, the stack
 * frame of an event, an instruction that is not emulated. The page can be written from
 * mmu_track_open() until mmu_track_close() returns; other writes in between count as part of the
 * one that was noticed. Each vCPU has its own opening, which is all zero while nothing is open.
 * mmu_track_open() returns 0, or -ENOSPC if too many pages are open. Neither function takes
 * slots_lock. The caller holds no lock of the MMU and no pointer into it. */
#define TRACK_OPEN_MAX 32
struct track_opening {
    struct track_opening *next;
    unsigned count;
    gfn_t gfn[TRACK_OPEN_MAX];
};
int mmu_track_open(struct mmu *mmu, struct track_opening *opening, gpa_t gpa) MUST_CHECK;
void mmu_track_close(struct mmu *mmu, struct track_opening *opening);

/* Moves the page or block behind `gpa` to another host page or block, with its contents. Returns 0;
 * -EFAULT if no slot covers `gpa` or the page has never been touched; -EBUSY if the slot is pinned;
 * -ENOMEM. The change CHANGE_REMAP does it in pieces. */
int mmu_host_remap(struct mmu *mmu, gpa_t gpa) MUST_CHECK;

/* Counts the leaves of a range that have been accessed since the last call, and marks them as not
 * accessed. Takes no lock and flushes nothing, so an access that hit in the TLB may be missed (rule
 * N4). mmu_age_some() works in pieces as mmu_zap_some() does, and leaves the count in walk->count.
 */
uint64_t mmu_age(struct mmu *mmu, gpa_t gpa, uint64_t pages);
int mmu_age_some(struct mmu *mmu, gpa_t gpa, uint64_t pages, struct mmu_walk *walk) MUST_CHECK;

/* Lets one in NX_RATIO of the large pages that were split because they were executed become large
 * again. mmu_nx_begin() is called periodically; the work is then one of the VM's chores, or is done
 * by callers of mmu_nx_piece(), which returns the number of pages recovered. mmu_nx_recover() does
 * all of it. They take the MMU's lock. */
#define NX_RATIO 60u
void mmu_nx_begin(struct mmu *mmu);
unsigned mmu_nx_piece(struct mmu *mmu);
unsigned mmu_nx_recover(struct mmu *mmu);

static inline bool mmu_nx_recovers(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->nx.wanted, __ATOMIC_RELAXED);
}

/* The host page to which the tables translate `gpa`, and the level of the leaf. Takes no lock; the
 * caller is in an epoch. Returns 0, or -ENOENT if an access would fault (rule W3). */
int mmu_gpa_to_pfn(const struct mmu *mmu, gpa_t gpa, hpa_t *page, unsigned *level) MUST_CHECK;

/* The counters, summed up over all pCPUs. */
struct mmu_stats mmu_stats(const struct mmu *mmu);

/* The number of pages that the slots have behind them. Reads the entries of all of them, so it is
 * for the VM's last report: no vCPU runs any more. */
uint64_t mmu_ram_pages(const struct mmu *mmu);

/* The numbers of all INVEPTs and of all INVVPIDs. */
uint64_t mmu_invept_count(const struct mmu *mmu);
uint64_t mmu_invvpid_count(const struct mmu *mmu);

/* The number of INVEPTs that paid a debt for this reason. One INVEPT may pay several debts. */
uint64_t mmu_invept_for(const struct mmu *mmu, enum debt_reason reason);

/* The rights that an access of the guest needs; with the other bits, the error code of a fault
 * (rule F1). */
enum mmu_access {
    ACCESS_READ = 1u << 0,
    ACCESS_WRITE = 1u << 1,
    ACCESS_FETCH = 1u << 2,
    FAULT_PRESENT = 1u << 3,  /* the entry allowed some access: bits 5:3 of the qualification */
    FAULT_FINAL = 1u << 4,    /* the access itself; clear: the walk of the guest's page tables */
    FAULT_RESERVED = 1u << 5, /* a misconfiguration; never together with the other bits */
};

/* The outcome of a fault (rule F6). Negative numbers are errors: -EINVAL, -ENOMEM, -EFAULT,
 * -EACCES. */
enum fault_result {
    FAULT_CONTINUE,        /* inside the MMU only: continue with the next step */
    FAULT_RETRY,           /* enter the guest again; it may fault again */
    FAULT_EMULATE,         /* MMIO: emulate the instruction */
    FAULT_WRITE_PROTECTED, /* a write to a tracked page */
    FAULT_INVALID,         /* inside the MMU only: the fast path does not decide */
    FAULT_FIXED,           /* the SPTE allows the access now */
    FAULT_SPURIOUS,        /* the SPTE allowed the access already */
    FAULT_VE,              /* the guest handles it, as #VE; see vm/ve.h */
    FAULT_RESULTS,
};

/* What the vCPU's MMIO cache may keep of an MMIO address (rule C1). */
struct mmio_info {
    alias_t alias;
    uint64_t generation; /* of the slots; 0: do not cache */
    bool renewed;        /* the MMIO SPTE was stale and has been made current */
};

/* Handles an EPT violation, or a misconfiguration for which mmu_mmio_check() has returned
 * FAULT_INVALID. Takes the MMU's lock, shared. Never returns FAULT_CONTINUE or FAULT_INVALID.
 * `info` is valid on FAULT_EMULATE only; for a write to a read-only slot, info->generation is 0. */
int mmu_fault(struct mmu *mmu, gpa_t gpa, uint32_t error_code, struct mmio_info *info) MUST_CHECK;

/* Steps 3 to 6 of the misconfiguration flow (rule F4). Takes no lock; the caller is in an epoch.
 * Returns FAULT_EMULATE (the MMIO SPTE is current, or has been made current), FAULT_INVALID (it is
 * stale: call mmu_fault()), FAULT_RETRY (it is no MMIO SPTE any more), or -EINVAL (a real
 * misconfiguration: the entries of all levels have been logged; end this VM). */
int mmu_mmio_check(struct mmu *mmu, gpa_t gpa, struct mmio_info *info) MUST_CHECK;

/* The 64-bit generation of the slots. Bit 63 is set while an update is in progress. */
static inline uint64_t mmu_slot_generation(const struct mmu *mmu)
{
    const struct memslots *slots = __atomic_load_n(&mmu->slots, __ATOMIC_ACQUIRE);
    return __atomic_load_n(&slots->generation, __ATOMIC_ACQUIRE);
}

/* The only accessors to guest memory (decision D16): they copy between a buffer and guest-physical
 * memory, across pages, and allocate host pages at first touch. `access` is ACCESS_READ,
 * ACCESS_WRITE or ACCESS_FETCH, which the role of the address must allow. Return 0; -EFAULT if no
 * slot covers a byte or the slot refuses the access, so that the access may be MMIO; -EACCES if the
 * role or the side refuses the access, or the address cannot be MMIO; -ENOMEM; before any vCPU has
 * entered, -EINPROGRESS: the caller attends to what is waiting (mmu_pauses()) and repeats the call.
 * After an error, the bytes before the one that failed have been copied. A naturally aligned access
 * of 2, 4 or 8 bytes is made at once, if the buffer is aligned, too. */
int guest_read(struct mmu *mmu, gpa_t gpa, void *buffer, size_t size,
               enum mmu_access access) MUST_CHECK;
int guest_write(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size) MUST_CHECK;

/* The result that guest_write() to the page of `gpa` would have now. Writes nothing. */
int guest_may_write(struct mmu *mmu, gpa_t gpa) MUST_CHECK;

/* guest_write() for loaders, which may write to read-only slots, too. */
int guest_load(struct mmu *mmu, gpa_t gpa, const void *buffer, size_t size) MUST_CHECK;

/* Compare-exchange of a naturally aligned entry of 4 or 8 bytes in a page table of the guest, to
 * set its A and D bits. Returns 0; -EAGAIN if the entry is no longer `old`; -EINVAL if the size or
 * alignment is another one; -EFAULT, -EACCES and -ENOMEM as guest_write(). */
int guest_cmpxchg(struct mmu *mmu, gpa_t gpa, size_t size, uint64_t old, uint64_t new) MUST_CHECK;

/* The host address of the page that holds `gpa`, for accesses of this kind that are to be cached.
 * NULL if no slot covers `gpa`, the page has never been touched, or the role or the side forbids
 * the access. Valid until the slot generation or the invalidation sequence changes. */
const void *guest_page(struct mmu *mmu, gpa_t gpa, enum mmu_access access);

/* Invalidates all that vCPUs and faults have cached of guest pages. */
void mmu_forget(struct mmu *mmu);

/* Counts events that take a host page or a right from guest frames: deletions, moves, conversions,
 * host remaps. Odd while one is in progress. */
static inline uint64_t mmu_invalidate_sequence(const struct mmu *mmu)
{
    return __atomic_load_n(&mmu->invalidate_sequence, __ATOMIC_ACQUIRE);
}
