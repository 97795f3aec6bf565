/* SPDX-License-Identifier: MIT */
#include "vm/provoke.h"

#include "arch/x86/cpu.h"
#include "arch/x86/guarded.h"
#include "arch/x86/kept_log.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/page.h"
#include "lib/string.h"
#include "vm/provoke_td.h"
#include "vmx/vmcs.h"
#include "vmx/vmx.h"
#include "vmx/xcr0.h"

#define MSR_ABSENT 0xfffffff0u

extern char text_start[];

static int __attribute__((noinline)) recurse(volatile int *depth)
{
    volatile int here = *depth + 1;
    return here ? recurse(&here) + here : 0; /* not a tail call, so each level keeps its frame */
}

/* The CPU must refuse each of these instructions, and the exceptions must not stop the
 * hypervisor. */
static void refused_by_the_cpu(void)
{
    static uint8_t area[1024] __attribute__((aligned(64)));
    uint64_t value;
    memset(area + 24, 0xff, 4);  /* MXCSR */
    memset(area + 512, 0xff, 8); /* XSTATE_BV */
    unsigned refused = 0;
    refused += !rdmsr_safe(MSR_ABSENT, &value);
    refused += !wrmsr_safe(MSR_ABSENT, 0);
    refused += !wrmsr_safe(MSR_LSTAR, BIT(62));
    refused += !xsetbv_safe(0); /* #UD where there is no XSAVE */
    refused += !xsetbv_safe(XCR0_X87 | BIT(62));
    refused += !xrstor_safe(area);
    refused += !fxrstor_safe(area);
    refused += !write_dr6_safe(BIT(32));
    log_info("# %u of 8 instructions were refused by the CPU, and the hypervisor went on", refused);
}

/* An exception that no handler takes, nor that of the double fault: the CPU shuts down, which
 * resets a PC. The next boot finds the log of this one, and goes on. */
void provoke_early(enum provoke what)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt;
    if (what == PROVOKE_TRIPLE && !kept_log_found())
        __asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
}

void provoke(enum provoke what)
{
    static char data[] = {(char)0xc3};
    volatile int depth = 0;

    switch (what) {
    case PROVOKE_NOTHING:
    case PROVOKE_TRIPLE:
        return;
    case PROVOKE_NULL:
        __asm__ volatile("movl 0x18(%0), %%eax" : : "r"(0ull) : "rax");
        break;
    case PROVOKE_STACK:
        depth = recurse(&depth);
        break;
    case PROVOKE_CODE:
        *(volatile char *)text_start = 0;
        break;
    case PROVOKE_DATA:
        __asm__ volatile("call *%0" : : "r"(data));
        break;
    case PROVOKE_BUG:
        BUG_ON(what == PROVOKE_BUG);
        break;
    case PROVOKE_WARN:
        WARN_ON(what == PROVOKE_WARN);
        return;
    case PROVOKE_NMI:
        __asm__ volatile("int $2");
        return;
    case PROVOKE_MC:
        __asm__ volatile("int $18");
        return;
    case PROVOKE_LEAK:
        WARN_ON(page_is_none(page_alloc(0)) || page_is_none(page_alloc(2)));
        return;
    case PROVOKE_GUARDED:
        refused_by_the_cpu();
        return;
    case PROVOKE_PRIVATE:
        provoke_private();
        return;
    default:
        provoke_td((enum lie)(what - PROVOKE_TD));
        return;
    }
}

int provoke_entry(const struct options *options)
{
    uint32_t field = (uint32_t)options->break_field;
    if (field == BREAK_NO_FIELD)
        return 0;
    for (unsigned i = 0; i < vmcs_field_count; i++) {
        if (vmcs_fields[i] != field || !vmx_field_exists(&vmx.msrs, field))
            continue;
        log_info("# break_field: %s was %#lx, is %#lx now", vmcs_field_name(field), vmread(field),
                 options->break_value);
        vmwrite(field, options->break_value);
        return 0;
    }
    log_error(
        "command line: break_field=%#x is not a VMCS field of this CPU; vmx/fields.h lists them",
        field);
    return -EINVAL;
}
