/* SPDX-License-Identifier: MIT */
/* What becomes of an instruction of a TD that the module virtualizes. */
#pragma once

enum tdx_access {
    TDX_DIRECT, /* executed: by the CPU, or as the module does, without the VMM */
    TDX_VE,     /* #VE: the guest may ask the VMM by a TDVMCALL */
    TDX_GP,     /* #GP(0) */
};
