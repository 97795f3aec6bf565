/* SPDX-License-Identifier: MIT */
/*
 * What the module makes of each exit of a TD (base architecture specification, "TD VM Exits"). An
 * emulator of the hypervisor would have to read private memory, so none runs on behalf of a TD:
 * what a TD may not do directly is #VE, and the TD asks by a TDVMCALL. Pure.
 */
#pragma once

#include <stdint.h>

enum td_answer {
    TD_STOP,      /* no TD may do this, or no CPU reports it: the TD is stopped */
    TD_AS_USUAL,  /* as in other VMs: no emulation, and no access to the guest's memory */
    TD_CPU,       /* by the rules of the TD's CPU: vm/td_cpu.h */
    TD_RAISE_VE,  /* #VE with the exit's reason, qualification and instruction length */
    TD_RAISE_UD,  /* #UD: CPUID does not offer the instruction */
    TD_RAISE_GP,  /* #GP(0) */
    TD_CALL,      /* TDCALL, of a CPU that has TDX */
    TD_EXCEPTION, /* TDCALL of any other CPU, or an exception to be reflected */
    TD_MEMORY,    /* an EPT violation */
};

/* `reason`: a basic exit reason. */
enum td_answer td_exit_answer(uint32_t reason);
