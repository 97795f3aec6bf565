/* SPDX-License-Identifier: MIT */
/*
 * A CPU gets interrupts in two ways. Those of the 8259s do not depend on the TPR, so they are
 * masked in the 8259s. All others come through the local APIC, which holds them back because of the
 * TPR: those of the I/O APIC and of its own timer, and MSIs.
 *
 * Where there is no 8259, its mask reads as all ones, as if everything were masked, and nothing is
 * written: the port may be something else's.
 */
#include "arch/x86/interrupts.h"

#include "arch/x86/cpu.h"

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1
#define TPR_ALL         15 /* the class of the highest vectors (SDM 3, 11.8.6) */

static void pic_mask(uint16_t port)
{
    if (inb(port) != 0xff)
        outb(port, 0xff);
}

void interrupts_mask(void)
{
    pic_mask(PIC_MASTER_MASK);
    pic_mask(PIC_SLAVE_MASK);
    write_cr8(TPR_ALL);
}
