/*
 * INVEPT and INVVPID (SDM 3, chapter 31). Only mmu/tlb.c calls these, so that each is counted with
 * its reason. The hosted tests supply both.
 */
#pragma once

#include "lib/types.h"

#define INVEPT_SINGLE 1u /* all translations of one EPTP[51:12] */
#define INVEPT_ALL    2u /* all EPTPs; `eptp` is ignored */

#define INVVPID_ADDRESS 0u /* one linear address of one VPID; must be canonical */
#define INVVPID_SINGLE  1u
#define INVVPID_ALL     2u
#define INVVPID_GLOBALS 3u /* one VPID, but keeps its global translations */

/* A failure means that the type or the operand is invalid, which is our own mistake: a BUG. */
void invept(unsigned type, uint64_t eptp);
void invvpid(unsigned type, uint16_t vpid, gva_t address);
