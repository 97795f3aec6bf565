/* SPDX-License-Identifier: MIT */
/*
 * The attention requests of a vCPU: the reasons for which it must not simply be entered again, as
 * named bits of one 64-bit value. The exit path tests the value once and enters the guest again if
 * it is 0; the loop in vm/run.c handles the requests.
 *
 * The value has two halves, so that the pCPU that runs the vCPU needs no locked instruction:
 *
 *   own     Changed only by that pCPU, NMI handler included, so each change is one instruction.
 *           While no pCPU runs the vCPU, the half belongs to the CPU that took it from a queue.
 *   others  Changed by any CPU at any time, with locked instructions. The CPU that makes such a
 *           request first writes the data that the request is about, then makes the request, and
 *           then kicks the vCPU (sleep_alert() in vm/sleep.h).
 *
 * A request stays, also across entries and migrations, until it is cleared.
 *
 *   request       made by                                        cleared by
 *   ------------  ---------------------------------------------  -------------------------------
 *   own half: on the pCPU that runs the vCPU
 *   EVENT         vmx_raise() and all other code that makes an   run_attend(), after vmx_deliver()
 *                 event pending; the window exits                injected it or enabled a window
 *   TIMER         the exit of the preemption timer; a handler    look_at_clock()
 *                 that took longer than the slice
 *   KICK          the NMI handler; a pCPU that kicks itself;     look_at_clock(), before it looks
 *                 the beginning of a turn
 *   PRINT         transcript_notify(): the VM has text to        run_attend(), after
 *                 print                                          run_print_own()
 *   CHORES        a hypercall or a device that leaves work to    run_piece(), when none is left;
 *                 its vCPU; ipi_receive(), if it takes work      ipi_receive() at an INIT, for
 *                 that the VM offers                             another vCPU
 *   PASS          pass_open(): an access is to be let through    pass_close()
 *   REARM         clock_arm(): the preemption timer has to be    clock_arm(), when no timer of the
 *                 armed for each entry. The exit path does this  guest's own is due next
 *                 itself if there is no other request
 *   HALTED        the exit of HLT                                vcpu_wakes(); ipi_restarts()
 *   STOP          ipi_receive(): an INIT has arrived             ipi_restarts(), off the pCPU
 *   ENTRY_FAILED  the exit of a failed entry                     never: the VM ends
 *   SHUTDOWN      a triple fault                                 never: the VM ends
 *   STEP          debugger_step()                                debugger_step_exited(), when the
 *                                                                instruction has been executed;
 *                                                                debugger_step_cancel(); an INIT
 *
 *   others' half: on any CPU
 *   MAIL          the sender of an IPI                           ipi_receive(), before it reads the
 *                                                                mailbox
 *   START         the sender of a start-up IPI; ipi_restarts()   ipi_start()
 *   ENDED         vm_end(), on every vCPU of the VM              never
 *   VISIT         visit_begin()                                  visit_receive(), before it takes
 *                                                                the visits
 *   PAUSE         pause_vcpu()                                   pause_holds(), before it reads who
 *                                                                asks for it
 *
 * tests/models/kick.pml shows that no kick and no mail is lost between the last test of the value
 * and the entry: the NMI handler also sets the preemption timer to 0 (vm/pcpu.h).
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum attention_request {
    ATTENTION_EVENT = BIT(0),
    ATTENTION_TIMER = BIT(1),
    ATTENTION_KICK = BIT(2),
    ATTENTION_PRINT = BIT(3),
    ATTENTION_CHORES = BIT(4),
    ATTENTION_PASS = BIT(5),
    ATTENTION_REARM = BIT(6),
    ATTENTION_HALTED = BIT(7),
    ATTENTION_STOP = BIT(8),
    ATTENTION_ENTRY_FAILED = BIT(9),
    ATTENTION_SHUTDOWN = BIT(10),
    ATTENTION_STEP = BIT(11),

    ATTENTION_MAIL = BIT(32),
    ATTENTION_START = BIT(33),
    ATTENTION_ENDED = BIT(34),
    ATTENTION_VISIT = BIT(35),
    ATTENTION_PAUSE = BIT(36),
};

struct attention {
    union {
        uint64_t word;
        struct {
            uint32_t own, others;
        };
    };
};

/* Is there any request? The exit path calls this after each handler. It is a plain load, which the
 * compiler can make part of the comparison; a request that is made later is followed by a kick. */
static inline bool attention_pending(const struct attention *a)
{
    return a->word != 0;
}

/* Is one of these requests set? Any CPU may call this; a CPU that does not run the vCPU sees
 * changes of the own half with some delay. */
static inline bool attention_requested(const struct attention *a, uint64_t requests)
{
    return __atomic_load_n(&a->word, __ATOMIC_SEQ_CST) & requests;
}

/* Makes requests, which must all be of one half. */
static ALWAYS_INLINE void attention_request(struct attention *a, uint64_t requests)
{
    if (requests >> 32)
        __atomic_fetch_or(&a->others, (uint32_t)(requests >> 32), __ATOMIC_SEQ_CST);
    else
        __asm__ volatile("orl %1, %0" : "+m"(a->own) : "ri"((uint32_t)requests) : "cc", "memory");
}

/* Clears requests, which must all be of one half. What their senders wrote before they made them
 * can be read afterwards. */
static ALWAYS_INLINE void attention_clear(struct attention *a, uint64_t requests)
{
    if (requests >> 32)
        __atomic_fetch_and(&a->others, (uint32_t)(~requests >> 32), __ATOMIC_SEQ_CST);
    else
        __asm__ volatile("andl %1, %0" : "+m"(a->own) : "ri"((uint32_t)~requests) : "cc", "memory");
}
