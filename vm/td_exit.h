/* SPDX-License-Identifier: MIT */
/* What the files of a TD's exits call of each other. All of it runs on the pCPU of the vCPU, after
 * an exit. */
#pragma once

#include "lib/compiler.h"
#include "tdx/ve.h"
#include "vm/td_memory.h"

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* Raises #VE for the instruction that has exited, with the exit's information. If the guest has not
 * read the information about its last #VE, this one becomes #DF. */
void td_raise_ve(struct vcpu *vcpu);

/* Raises #VE as td_raise_ve() does, with other information than the exit's. */
void td_raise_ve_with(struct vcpu *vcpu, const struct td_ve *ve);

/* Raises an exception with the error code 0, if it has one, for the instruction that has exited. */
void td_raise(struct vcpu *vcpu, uint8_t vector);

/* Handles an EPT violation (vm/td_violation.c). */
void td_violation(struct vcpu *vcpu);

/* What decides an EPT violation of a TD, by the state of the page: of a private access, and of a
 * shared one. An address that td_gpa_is_reserved() has no page. td_why_rule() says it in half a
 * sentence. */
enum td_why {
    TD_WHY_FAULT, /* the MMU is asked: perhaps a first touch */
    TD_WHY_WAITS, /* another vCPU is converting the page */
    TD_WHY_VE,
    TD_WHY_RESERVED, /* the address has more bits than the TD's: #PF */
    TD_WHY_PENDING,  /* from here on, the TD is stopped */
    TD_WHY_SHARED,
    TD_WHY_NONE,
    TD_WHY_CODE,
};
bool td_gpa_is_reserved(const struct td *td, gpa_t gpa) MUST_CHECK;
enum td_why td_private_why(enum td_page_state state, uint64_t td_ctls);
enum td_why td_shared_why(enum td_page_state state, uint64_t qualification);
const char *td_why_rule(enum td_why why);

/* Handles an access to an operand of TDCALL in memory, which was refused, as an EPT violation: the
 * instruction is executed again, or a #VE has been raised, or the TD has been stopped. */
void td_operand_violation(struct vcpu *vcpu, gpa_t gpa, bool write);

/* Is the #UD of this exit a TDCALL? If so, td_call() executes it. *again is set if that could not
 * be found out, because another CPU was changing a page: the instruction is executed again then. */
bool td_at_tdcall(struct vcpu *vcpu, bool *again) MUST_CHECK;
void td_call(struct vcpu *vcpu);

/* The calls of a TD to the VMM: leaves of TDVMCALL beyond those of vm/ghci.h. `gpr` are the
 * registers that the TD exposes; others are 0. Returns the completion code for R10. */
uint64_t td_vmcall(struct vcpu *vcpu, uint64_t *gpr);
