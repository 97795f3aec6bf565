/* SPDX-License-Identifier: MIT */
/*
 * A CPU gets interrupts in two ways. Those of the 8259s do not depend on the TPR, so they are
 * masked in the 8259s; a machine without them ignores the writes. All others come through the local
 * APIC, which holds them back because of the TPR: those of the I/O APIC and of its own timer, and
 * MSIs.
 */
#include "arch/x86/interrupts.h"

#include "arch/x86/cpu.h"

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1
#define TPR_ALL         15 /* the class of the highest vectors (SDM 3, 11.8.6) */

void interrupts_mask(void)
{
    outb(PIC_MASTER_MASK, 0xff);
    outb(PIC_SLAVE_MASK, 0xff);
    write_cr8(TPR_ALL);
}
