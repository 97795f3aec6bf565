/* SPDX-License-Identifier: MIT */
/*
 * The effect of INIT and the following start-up IPI on each member of struct vcpu. Included by
 * test_vcpu_init.c.
 */
#pragma once

#include "vm/vcpu.h"

enum fate {
    KEPT,
    ZERO,
    ONES,
    CACHE, /* the value is compared before it is used, or the test checks it */
};

#define ROW(member, fate)                                                                  \
    {                                                                                      \
#member, offsetof(struct vcpu, member), sizeof(((struct vcpu *)0)->member), (fate) \
    }

static const struct row {
    const char *name;
    size_t at, size;
    enum fate fate;
} rows[] = {
    ROW(vmx.regs, CACHE),
    ROW(vmx.host_rsp, KEPT),
    ROW(vmx.launched, KEPT),
    ROW(vmx.checked, KEPT),
    ROW(vmx.host, KEPT),
    ROW(vmx.attention, CACHE),
    ROW(vmx.pending, ZERO),
    ROW(vmx.windows, KEPT),      /* the state of the controls; the next delivery updates both */
    ROW(vmx.wakes_masked, KEPT), /* of TDs, which take no INIT */
    ROW(vmx.exit, KEPT),
    ROW(vmx.vmcs, KEPT),
    ROW(vmx.msr_bitmap, KEPT),
    ROW(vmx.pml, KEPT),
    ROW(vmx.pml_on, KEPT),
    ROW(vmx.extra_work, KEPT),
    ROW(vmx.exits_traced, KEPT),
    ROW(vmx.td, KEPT),
    ROW(vmx.holds_nmis, KEPT),
    ROW(vmx.apicv, CACHE), /* `changed`, if the CPU delivers interrupts */
    ROW(extra.cr2, ZERO),
    ROW(extra.dr0, ZERO),
    ROW(extra.dr1, ZERO),
    ROW(extra.dr2, ZERO),
    ROW(extra.dr3, ZERO),
    ROW(extra.dr6, CACHE),
    ROW(extra.msrs, KEPT),
    ROW(extra.xcr0, KEPT),
    ROW(extra.xss, KEPT),
    ROW(extra.pkru, KEPT),
    ROW(extra.fpu, KEPT),
    ROW(mmio.cpu, KEPT),
    ROW(mmio.mmu, KEPT),
    ROW(mmio.mmio_bus, KEPT),
    ROW(mmio.stats, KEPT),
    ROW(mmio.fault, KEPT), /* details of the last outcome */
    ROW(mmio.single_step, KEPT),
    ROW(mmio.breakpoints_met, KEPT),
    ROW(mmio.end, KEPT),
    ROW(mmio.text, KEPT),
    ROW(mmio.stale_rip, KEPT),
    ROW(mmio.stale_count, KEPT),
    ROW(mmio.breakpoints, ZERO),
    ROW(mmio.cache, CACHE),
    ROW(mmio.replays, KEPT),
    ROW(ports, KEPT),
    ROW(cpuid, KEPT), /* cpuid_update() is called */
    ROW(cpuid_self, KEPT),
    ROW(vm, KEPT),
    ROW(sched, KEPT),
    ROW(index, KEPT),
    ROW(mailbox, CACHE),
    ROW(visits, CACHE), /* the vCPU can be visited again */
    ROW(paused, KEPT),
    ROW(ghci, KEPT),
    ROW(pass, KEPT), /* closed when the vCPU leaves its pCPU */
    ROW(debugger, KEPT),
    ROW(place, KEPT),
    ROW(vpid, KEPT),
    ROW(ve_by_cpu, KEPT),
    ROW(ve_area, KEPT),
    ROW(td, KEPT),
    ROW(lapic.host, KEPT),
    ROW(lapic.context, KEPT),
    ROW(lapic.mode, KEPT),
    ROW(lapic.id, KEPT),
    ROW(lapic.tpr, ZERO),
    ROW(lapic.ldr, ZERO),
    ROW(lapic.dfr, ONES),
    ROW(lapic.svr, CACHE),
    ROW(lapic.divide, ZERO),
    ROW(lapic.initial, ZERO),
    ROW(lapic.icr, ZERO),
    ROW(lapic.icr_high, ZERO),
    ROW(lapic.lvt, CACHE),
    ROW(lapic.esr, ZERO),
    ROW(lapic.errors, ZERO),
    ROW(lapic.irr, ZERO),
    ROW(lapic.isr, ZERO),
    ROW(lapic.tmr, ZERO),
    ROW(lapic.page, KEPT), /* its contents are ZERO */
    ROW(lapic.timer_end, ZERO),
    ROW(lapic.timer_unit, KEPT),
    ROW(apic_page, KEPT),
    ROW(unfinished, ZERO),
    ROW(change, KEPT), /* begun again by the next call that needs it */
    ROW(walk, KEPT),
    ROW(map, KEPT),
    ROW(tsc_offset, KEPT),
    ROW(tsc_adjust, KEPT),
    ROW(legacy_msrs, KEPT),
    ROW(budget_left, KEPT),
    ROW(budget_end, KEPT),
    ROW(slice_end, KEPT),
    ROW(next_event, KEPT),
    ROW(exits_left, KEPT),
    ROW(external, CACHE), /* `valid` */
    ROW(from_pic, CACHE),
    ROW(extint, CACHE),
    ROW(delayed, KEPT),
    ROW(inject_at, ONES),
    ROW(pit_at, KEPT),
    ROW(delayed_until, CACHE), /* of these two */
    ROW(frames_at, KEPT),
    ROW(frames_from, KEPT),
    ROW(last, KEPT),
    ROW(exits, KEPT),
    ROW(exceptions, KEPT),
    ROW(events_requeued, KEPT),
    ROW(poison_ticks, KEPT),
    ROW(traced, KEPT),
    ROW(trace_changes, KEPT),
};
