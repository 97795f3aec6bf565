/* SPDX-License-Identifier: MIT */
/*
 * The EPT and VPID capabilities of this CPU, decoded from IA32_VMX_EPT_VPID_CAP (SDM 3, A.10) and
 * MAXPHYADDR. Pure: the caller reads the MSR. Called once, at boot.
 */
#pragma once

#include "ept/format.h"
#include "lib/compiler.h"

#define MSR_IA32_VMX_EPT_VPID_CAP 0x48cu

#define EPT_CAP_EXEC_ONLY       BIT(0)
#define EPT_CAP_WALK_4          BIT(6)
#define EPT_CAP_WALK_5          BIT(7)
#define EPT_CAP_UC              BIT(8)
#define EPT_CAP_WB              BIT(14)
#define EPT_CAP_2M              BIT(16)
#define EPT_CAP_1G              BIT(17)
#define EPT_CAP_INVEPT          BIT(20)
#define EPT_CAP_AD              BIT(21)
#define EPT_CAP_VIOLATION_INFO  BIT(22) /* bits 11:9 of a violation's qualification are defined */
#define EPT_CAP_SHADOW_STACK    BIT(23)
#define EPT_CAP_INVEPT_SINGLE   BIT(25)
#define EPT_CAP_INVEPT_ALL      BIT(26)
#define EPT_CAP_INVVPID         BIT(32)
#define EPT_CAP_INVVPID_ADDRESS BIT(40)
#define EPT_CAP_INVVPID_SINGLE  BIT(41)
#define EPT_CAP_INVVPID_ALL     BIT(42)
#define EPT_CAP_INVVPID_GLOBALS BIT(43) /* single context, retaining global translations */

struct ept_caps {
    unsigned maxphyaddr;
    bool exec_only;
    bool page_2m;
    bool page_1g;
    bool ad;
    bool violation_info;
    bool invept_single;
    bool invept_all;
    unsigned invvpid_types; /* bit t: INVVPID of type t exists; 0: VPIDs can't be used */

    /* For present entries: the bits that must be 0, by level and by the entry's bit 7 (at level 1
     * both rows are equal); and, as a bit mask, the values of bits 2:0 that are a
     * misconfiguration. */
    uint64_t reserved[EPT_LEVELS + 1][2];
    uint8_t bad_permissions;
};

/* Decodes `msr`. Returns -ENODEV after a message that names the missing feature if the CPU lacks
 * one that the MMU needs, and -EINVAL after a message if no CPU can have this MAXPHYADDR. */
int ept_caps_parse(struct ept_caps *caps, uint64_t msr, unsigned maxphyaddr) MUST_CHECK;

/* Writes the names of the capabilities in `msr`, separated by ", ". Returns the length of the
 * complete text, which may have been cut. */
unsigned ept_caps_words(uint64_t msr, char *buffer, unsigned size);
