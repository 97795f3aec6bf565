/*
 * The walk of the guest's own page tables, in software: from a linear address to a guest-physical
 * one, with the CPU's checks, error codes and updates of the accessed and dirty bits (SDM 3,
 * chapter 4). Paging off, 32-bit, PAE and 4-level paging; 5-level paging and supervisor protection
 * keys are refused, and no guest is offered them.
 *
 * The result lists the entries that the walk read, so that a cache can later read them again and
 * know, without walking, whether a fresh walk would still say the same.
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/types.h"
#include "mmu/mmu.h"
#include "arch/x86/regs.h"

/* Everything that decides a walk but the address: register bits at their own positions, which
 * happen not to collide, so that one comparison compares them all. */
#define KEY_WRITE  BIT(1) /* the access; neither this nor KEY_FETCH: a read */
#define KEY_USER   BIT(2) /* CPL 3 */
#define KEY_FETCH  BIT(3)
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

/* #PF error code (SDM 3, 4.7). */
#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER     BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)
#define PF_KEY      BIT(5)

/* What the CPU's CPUID says; the guest's walks by hardware obey the same. */
struct walk_limits {
    uint8_t physical_bits; /* MAXPHYADDR, 32 to 52 */
    bool page_1g;
};

/* The vCPU's state of one exit, as far as walks depend on it. */
struct walk_context {
    uint64_t cr3;
    uint64_t key;        /* KEY_ bits without those of the access */
    uint64_t pkru;       /* 0 unless CR4.PKE */
    uint64_t generation; /* of the slots, and the sequence, read before anything else */
    uint64_t sequence;
    uint64_t rflags;
    uint32_t cs_rights; /* VMX format */
    bool protected;     /* CR0.PE */
};

struct walk_entry {
    const void *host; /* where to read it again; NULL: nowhere */
    uint64_t value;
    gpa_t gpa;
};

struct walk {
    gpa_t gpa;           /* WALK_OK: of the byte that was asked for; else of the offending entry */
    uint32_t error_code; /* WALK_FAULT: PF_ bits */
    unsigned entry_size; /* 4 or 8 bytes */
    unsigned count;
    uint64_t pdpte; /* PAE: the register that the walk started from */
    struct walk_entry entries[4];
    bool keepable; /* every entry can be read again and has A, and for a write D, set */
};

enum walk_result {
    WALK_OK,
    WALK_FAULT,       /* page fault */
    WALK_RETRY,       /* other CPUs kept changing the tables: let the guest try again */
    WALK_NOT_RAM,     /* a table entry lies where no RAM is, or in RAM that may not be written */
    WALK_NO_MEMORY,   /* no host memory to populate a table's page */
    WALK_UNSUPPORTED, /* CR4.LA57 or CR4.PKS */
};

/* Reads the vCPU's state. The generation and the sequence come first, so that nothing learned later
 * can be older than they say. */
void walk_context_load(struct walk_context *context, struct cpu_regs *cpu, const struct mmu *mmu);

/* Walks for `address`, which is canonical and, outside 64-bit code, has 32 bits. `access` is 0 (a
 * read), KEY_WRITE or KEY_FETCH. Needs an epoch; no lock. */
enum walk_result walk(struct mmu *mmu, struct cpu_regs *cpu, const struct walk_limits *limits,
                      const struct walk_context *context, gva_t address, uint64_t access,
                      struct walk *result) MUST_CHECK;
