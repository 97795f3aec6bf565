/* SPDX-License-Identifier: MIT */
/*
 * INVEPT and INVVPID (SDM 3, chapter 31). Only mmu/tlb.c calls invept() and invvpid(), so that it
 * counts each invalidation with its reason. The hosted tests supply both functions.
 */
#pragma once

#include "lib/types.h"

#define INVEPT_SINGLE 1u /* all translations of one EP4TA, EPTP[51:12] */
#define INVEPT_ALL    2u /* all translations of all EP4TAs; `eptp` is ignored */

#define INVVPID_ADDRESS 0u /* one linear address, which must be canonical, of one VPID */
#define INVVPID_SINGLE  1u
#define INVVPID_ALL     2u
#define INVVPID_GLOBALS 3u /* one VPID, except for its global translations */

/* Each executes its instruction. The instruction fails if the type is unsupported or an operand is
 * invalid, which is an error of the hypervisor: a BUG. */
void invept(unsigned type, uint64_t eptp);
void invvpid(unsigned type, uint16_t vpid, gva_t address);
