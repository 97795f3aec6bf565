/* SPDX-License-Identifier: MIT */
#include "tdx/td_cr.h"

#include "arch/x86/reg_bits.h"
#include "vmx/xcr0.h"

/* Reserved bits of CR0's low half, whose writes are ignored. */
#define CR0_IGNORED  (BITS(28, 19) | BIT(17) | BITS(15, 6))
#define CR4_RESERVED (BIT(15) | BITS(63, 26))

uint64_t tdx_cr0_owned(void)
{
    return CR0_PE | CR0_NE | CR0_NW | CR0_CD | CR0_IGNORED | BITS(63, 32);
}

/* Bits of features that ATTRIBUTES and XFAM can give to a TD and have not given to this one. KL,
 * PKS, CET and UINTR are given to none. */
static uint64_t cr4_withheld(const struct td *td)
{
    return CR4_KL | CR4_PKS | CR4_CET | CR4_UINTR | (td->xfam & XCR0_PKRU ? 0 : CR4_PKE);
}

uint64_t tdx_cr4_owned(const struct td *td)
{
    return CR4_MCE | CR4_VMXE | CR4_SMXE | CR4_RESERVED | cr4_withheld(td);
}

/* A CPU in VMX operation refuses to clear NE, whatever the module says. */
enum tdx_access tdx_cr0_write(uint64_t value)
{
    if (!(value & CR0_NE) || value >> 32 || (value & (CR0_PE | CR0_PG)) == CR0_PG)
        return TDX_GP;
    return !(value & CR0_PE) || value & (CR0_NW | CR0_CD) ? TDX_VE : TDX_DIRECT;
}

enum tdx_access tdx_cr4_write(const struct td *td, uint64_t old, uint64_t value,
                              uint64_t cr4_offered)
{
    uint64_t module = CR4_MCE | CR4_VMXE | CR4_SMXE;
    if (value & cr4_withheld(td) || value & ~(cr4_offered | module))
        return TDX_GP;
    return (value ^ old) & module ? TDX_VE : TDX_DIRECT;
}
