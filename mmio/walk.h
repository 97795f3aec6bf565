/* SPDX-License-Identifier: MIT */
/*
 * The software walk of the guest's own page tables, from a linear address to a guest-physical
 * address, with the CPU's checks, error codes and updates of accessed and dirty bits (SDM 3,
 * chapter 4). It supports disabled paging, 32-bit, PAE and 4-level paging; it refuses 5-level
 * paging and supervisor protection keys, which no guest is offered.
 *
 * The result lists the entries that the walk read, so that a cache can compare them later and know,
 * without a walk, whether a new walk would have the same result.
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/types.h"
#include "mmu/mmu.h"
#include "arch/x86/regs.h"

/* The key of a walk: all state that the walk depends on, except CR3, PKRU and the address. Register
 * bits keep their positions, which do not collide, so that one comparison covers all of them. */
#define KEY_WRITE  BIT(1)  /* a write; neither KEY_WRITE nor KEY_FETCH: a read */
#define KEY_USER   BIT(2)  /* CPL 3 */
#define KEY_FETCH  BIT(3)  /* an instruction fetch */
#define KEY_PSE    BIT(4)  /* CR4 */
#define KEY_PAE    BIT(5)  /* CR4 */
#define KEY_LMA    BIT(10) /* EFER */
#define KEY_NXE    BIT(11) /* EFER */
#define KEY_LA57   BIT(12) /* CR4 */
#define KEY_CODE64 BIT(13) /* CS.L */
#define KEY_CODE32 BIT(14) /* CS.D */
#define KEY_WP     BIT(16) /* CR0 */
#define KEY_AC     BIT(18) /* RFLAGS */
#define KEY_SMEP   BIT(20) /* CR4 */
#define KEY_SMAP   BIT(21) /* CR4 */
#define KEY_PKE    BIT(22) /* CR4 */
#define KEY_PKS    BIT(24) /* CR4 */
#define KEY_PG     BIT(31) /* CR0 */
#define KEY_LOOK   BIT(32) /* not an access: A and D bits stay what they are */

/* #PF error code (SDM 3, 4.7). */
#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER     BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)
#define PF_KEY      BIT(5)

/* Limits from the CPU's CPUID, which the CPU's own walks for the guest obey as well. */
struct walk_limits {
    uint8_t physical_bits; /* MAXPHYADDR, 32 to 52 */
    bool page_1g;
};

/* The vCPU's state at one exit, as far as walks depend on it. */
struct walk_context {
    uint64_t cr3;
    uint64_t key;        /* KEY_ bits without KEY_WRITE and KEY_FETCH */
    uint64_t pkru;       /* 0 unless CR4.PKE */
    uint64_t generation; /* of the slots; read before the registers */
    uint64_t sequence;   /* of MMU invalidations; read before the registers */
    uint64_t rflags;
    uint32_t cs_rights; /* VMX format */
    bool protected;     /* CR0.PE */
};

struct walk_entry {
    const void *host; /* the entry in host memory; NULL: not accessible */
    uint64_t value;
    gpa_t gpa;
};

struct walk {
    gpa_t gpa;           /* the result; after WALK_NOT_RAM or WALK_NO_MEMORY, of the table entry */
    uint32_t error_code; /* WALK_FAULT: PF_ bits */
    unsigned entry_size; /* 4 or 8 bytes */
    unsigned count;
    uint64_t pdpte; /* PAE: the register that the walk started from */
    struct walk_entry entries[4];
    bool keepable; /* cacheable: each entry has a `host`, and A and for a write D are set */
};

enum walk_result {
    WALK_OK,
    WALK_FAULT,       /* page fault */
    WALK_RETRY,       /* other CPUs kept changing the tables: let the guest try again */
    WALK_NOT_RAM,     /* a table entry lies outside RAM, or in RAM that must not be written */
    WALK_NO_MEMORY,   /* no host memory to populate the page of a table */
    WALK_UNSUPPORTED, /* CR4.LA57 or CR4.PKS */
};

/* Reads the vCPU's state. It reads the generation and the sequence first, so that everything read
 * later is at least as new as they are. */
void walk_context_load(struct walk_context *context, struct cpu_regs *cpu, const struct mmu *mmu);

/* Translates `address`, which is canonical and, outside 64-bit code, has 32 bits. `access` is 0 (a
 * read), KEY_WRITE or KEY_FETCH, with KEY_LOOK for somebody who only looks. Takes no lock; the
 * caller is inside an epoch. */
enum walk_result walk(struct mmu *mmu, struct cpu_regs *cpu, const struct walk_limits *limits,
                      const struct walk_context *context, gva_t address, uint64_t access,
                      struct walk *result) MUST_CHECK;
