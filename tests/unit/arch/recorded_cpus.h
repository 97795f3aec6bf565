/* SPDX-License-Identifier: MIT */
/* The leaves of CPUID that arch/x86/cpu_facts.c asks for, of CPUs as their dumps are published, and
 * of hypervisors as their interfaces are documented. */
#pragma once

#include "arch/x86/unprivileged.h"

#include <stdbool.h>
#include <stddef.h>

struct recorded_leaf {
    uint32_t leaf, subleaf;
    struct cpuid value;
};

#define INTEL(last)                                  \
    {                                                \
        0x0, 0,                                      \
        {                                            \
            last, 0x756e6547, 0x6c65746e, 0x49656e69 \
        }                                            \
    }
#define AMD(last)                                    \
    {                                                \
        0x0, 0,                                      \
        {                                            \
            last, 0x68747541, 0x444d4163, 0x69746e65 \
        }                                            \
    }
#define BELOW(leaf, ...)            \
    {                               \
        leaf, 0,                    \
        {                           \
            0x40000001, __VA_ARGS__ \
        }                           \
    }
#define END     \
    {           \
        ~0u, 0, \
        {       \
            0   \
        }       \
    }

/* Core i7-12700K: 8 performance cores of two threads each, and 4 efficient ones of one thread. Both
 * kinds have the same signature. */
static const struct recorded_leaf alder_lake_p[] = {
    INTEL(0x20),
    {0x1, 0, {0x00090672, 0x00800800, 0x7ffafbff, 0xbfebfbff}},
    {0x7, 0, {0x00000002, 0x239ca7eb, 0x98c027ac, 0xfc1cc410}},
    {0x1a, 0, {0x40000001, 0, 0, 0}},
    {0xb, 0, {1, 2, 0x100, 0}},
    {0xb, 1, {7, 20, 0x201, 0}},
    {0x1f, 0, {1, 2, 0x100, 0}},
    {0x1f, 1, {7, 20, 0x201, 0}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0, 0, 0x121, 0x2c100800}},
    {0x80000002, 0, {0x68743231, 0x6e654720, 0x746e4920, 0x52286c65}},
    {0x80000003, 0, {0x6f432029, 0x54286572, 0x6920294d, 0x32312d37}},
    {0x80000004, 0, {0x4b303037, 0, 0, 0}},
    {0x80000008, 0, {0x3027, 0, 0, 0}},
    END,
};

static const struct recorded_leaf alder_lake_e[] = {
    INTEL(0x20),
    {0x1, 0, {0x00090672, 0x48800800, 0x7ffafbff, 0xbfebfbff}},
    {0x7, 0, {0x00000002, 0x239ca7eb, 0x98c027ac, 0xfc1cc410}},
    {0x1a, 0, {0x20000001, 0, 0, 0}},
    {0xb, 0, {1, 1, 0x100, 0x48}},
    {0xb, 1, {7, 20, 0x201, 0x48}},
    {0x1f, 0, {1, 1, 0x100, 0x48}},
    {0x1f, 1, {7, 20, 0x201, 0x48}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000008, 0, {0x3027, 0, 0, 0}},
    END,
};

/* A Core 2: no leaf of topology, and 36 bits because leaf 80000008h says so. */
static const struct recorded_leaf penryn[] = {
    INTEL(0xd),
    {0x1, 0, {0x00010676, 0x00020800, 0x0008e3fd, 0xbfebfbff}},
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000002, 0, {0x65746e49, 0x2952286c, 0x726f4320, 0x4d542865}},
    {0x80000003, 0, {0x44203229, 0x43206f75, 0x20205550, 0x54202020}},
    {0x80000004, 0, {0x30303639, 0x20402020, 0x30382e32, 0x007a4847}},
    {0x80000008, 0, {0x3024, 0, 0, 0}},
    END,
};

/* An EPYC, which has SVM. */
static const struct recorded_leaf epyc[] = {
    AMD(0x10),
    {0x1, 0, {0x00830f10, 0, 0x7ed8320b, 0x178bfbff}},
    {0xb, 0, {1, 2, 0x100, 0}},
    {0xb, 1, {7, 128, 0x201, 0}},
    {0x80000000, 0, {0x80000020, 0, 0, 0}},
    {0x80000001, 0, {0x00830f10, 0x40000000, 0x75c237ff, 0x2fd3fbff}},
    {0x80000008, 0, {0x3030, 0, 0, 0}},
    END,
};

/* A VM's CPU without VMX, whose hypervisor's leaves follow. */
#define VM_OF_INTEL                                                    \
    INTEL(0xd), {0x1, 0, {0x000806ea, 0x800, 0xfefa3203, 0x0f8bfbff}}, \
        {0x80000000, 0, {0x80000008, 0, 0, 0}},                        \
    {                                                                  \
        0x80000008, 0,                                                 \
        {                                                              \
            0x3027, 0, 0, 0                                            \
        }                                                              \
    }

static const struct recorded_leaf in_kvm[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x4b4d564b, 0x564b4d56, 0x0000004d), END};
static const struct recorded_leaf in_kvm_with_hyper_v[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x7263694d, 0x666f736f, 0x76482074),
    BELOW(0x40000100, 0x4b4d564b, 0x564b4d56, 0x0000004d), END};
static const struct recorded_leaf in_hyper_v[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x7263694d, 0x666f736f, 0x76482074), END};
static const struct recorded_leaf in_vmware[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x61774d56, 0x4d566572, 0x65726177), END};
static const struct recorded_leaf in_virtualbox[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x786f4256, 0x786f4256, 0x786f4256), END};
static const struct recorded_leaf in_xen[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x566e6558, 0x65584d4d, 0x4d4d566e), END};
static const struct recorded_leaf in_xen_with_hyper_v[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x7263694d, 0x666f736f, 0x76482074),
    BELOW(0x40000100, 0x566e6558, 0x65584d4d, 0x4d4d566e), END};
static const struct recorded_leaf in_bhyve[] = {
    VM_OF_INTEL, BELOW(0x40000000, 0x76796862, 0x68622065, 0x20657679), END};

/* QEMU's TCG with its own CPU model, which is AMD's and has SVM. */
static const struct recorded_leaf in_tcg[] = {
    AMD(0xd),
    {0x1, 0, {0x00060fb1, 0x800, 0xf6fa3203, 0x078bfbff}},
    BELOW(0x40000000, 0x54474354, 0x43544743, 0x47435447),
    {0x80000000, 0, {0x80000008, 0, 0, 0}},
    {0x80000001, 0, {0x00060fb1, 0, 0x7, 0}},
    {0x80000008, 0, {0x3028, 0, 0, 0}},
    END,
};

/* The CPU that recorded_ask() answers for, and whether it was asked for a leaf of a hypervisor. */
static const struct recorded_leaf *recorded;
static bool recorded_asked_below;

static struct cpuid recorded_ask(uint32_t leaf, uint32_t subleaf)
{
    recorded_asked_below |= leaf >> 16 == 0x4000;
    for (const struct recorded_leaf *r = recorded; r->leaf != ~0u; r++)
        if (r->leaf == leaf && r->subleaf == subleaf)
            return r->value;
    return (struct cpuid){0};
}
