/* SPDX-License-Identifier: MIT */
/*
 * Address types. Each kind of address has its own type, so that passing one kind where another is
 * expected does not compile. A struct with one member is passed in a register like the integer
 * inside it.
 *
 *   gva_t  guest-virtual     the address that a guest's instruction names
 *   gpa_t  guest-physical    what the guest's page tables yield and EPT translates
 *   gfn_t  guest frame       names memory; used by slots, dirty logs and SPTEs
 *   alias_t                  the frame of a gpa_t as the CPU walks it, including the stolen bits
 *   hpa_t  host-physical     what the hardware's tables hold
 *   hva_t  host-virtual      a pointer of the hypervisor, as an integer
 *
 * GPA(x) and its siblings make an address from an integer; `.v` returns the integer. Only code that
 * translates between kinds (page walks, tables, devices) should need either.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t v;
} gva_t;
typedef struct {
    uint64_t v;
} gpa_t;
typedef struct {
    uint64_t v;
} gfn_t;
typedef struct {
    uint64_t v;
} alias_t;
typedef struct {
    uint64_t v;
} hpa_t;
typedef struct {
    uint64_t v;
} hva_t;

#define GVA(x) ((gva_t){(uint64_t)(x)})
#define GPA(x) ((gpa_t){(uint64_t)(x)})
#define GFN(x) ((gfn_t){(uint64_t)(x)})
#define HPA(x) ((hpa_t){(uint64_t)(x)})
#define HVA(x) ((hva_t){(uint64_t)(x)})

#define ALIAS(x) ((alias_t){(uint64_t)(x)})

#define PAGE_SHIFT 12
#define PAGE_SIZE  0x1000ull
#define PAGE_MASK  (~(PAGE_SIZE - 1))

static inline gfn_t gpa_to_gfn(gpa_t gpa)
{
    return GFN(gpa.v >> PAGE_SHIFT);
}

static inline alias_t gpa_to_alias(gpa_t gpa)
{
    return ALIAS(gpa.v >> PAGE_SHIFT);
}

static inline gpa_t gfn_to_gpa(gfn_t gfn)
{
    return GPA(gfn.v << PAGE_SHIFT);
}

static inline gpa_t gpa_add(gpa_t gpa, uint64_t bytes)
{
    return GPA(gpa.v + bytes);
}

static inline hpa_t hpa_add(hpa_t hpa, uint64_t bytes)
{
    return HPA(hpa.v + bytes);
}

static inline uint64_t page_offset(uint64_t address)
{
    return address & (PAGE_SIZE - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}
