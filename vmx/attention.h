/*
 * Why a vCPU must not simply go on: one word of named requests. The exit path tests the word once
 * and enters the guest again if it is 0; the loop in vm/run.c answers the requests.
 *
 * The word has two halves, so that the pCPU that runs the vCPU needs no locked instruction:
 *
 *   own     Changed only by that pCPU, by its NMI handler too, so each change is one instruction.
 *           While the vCPU runs nowhere, the half belongs to whoever has taken it from a queue.
 *   others  Changed by any CPU at any time, by locked instructions. Whoever makes such a
 *           request first writes what it is about, then makes it, and then kicks the vCPU
 *           (sleep_alert() in vm/sleep.h).
 *
 * A request lasts, over entries and migrations too, until it is cleared.
 *
 * request        made by                                        cleared by
 * -------------  ---------------------------------------------  -------------------------------
 * own half: on the pCPU that runs the vCPU
 * EVENT          vmx_raise() and whoever else makes something   attend(), once vmx_deliver() has
 *                pending; the window exits                      injected it or asked for a window
 * TIMER          the exit of the preemption timer; a handler    look_at_clock()
 *                that took longer than the slice
 * KICK           the NMI handler; a pCPU that kicks itself;     look_at_clock(), before it looks
 *                the beginning of a turn
 * PRINT          transcript_has_news(): the VM has text that    attend(): print_own() has had its
 *                can be printed                                 turn
 * CHORES         a hypercall that leaves work to its vCPU       do_chore(), when none is left
 * PASS           pass_open(): an access is to be let through    pass_close()
 * REARM          arm_next(): the preemption timer has to be     arm_next(), when nothing of the
 *                armed for each entry. The exit path does this  guest's own is due next
 *                itself if nothing else is asked for
 * HALTED         the exit of HLT                                wait_halted(), when it is woken;
 *                                                               ipi_restarts()
 * STOP           ipi_receive(): an INIT has come                ipi_restarts(), off the pCPU
 * ENTRY_FAILED   the exit of an entry that failed               never: the VM ends
 *
 * others' half: on any CPU
 * MAIL           the sender of an IPI                           ipi_receive(), before it reads the
 *                                                               mailbox
 * START          the sender of a start-up IPI; ipi_restarts()   ipi_start()
 * ENDED          vm_end(), on every vCPU of the VM              never
 *
 * That no kick and no mail is lost between the last look at the word and the entry is shown in
 * tests/models/kick.pml: the NMI handler also sets the preemption timer to 0 (vm/pcpu.h).
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

    ATTENTION_MAIL = BIT(32),
    ATTENTION_START = BIT(33),
    ATTENTION_ENDED = BIT(34),
};

struct attention {
    union {
        uint64_t word;
        struct {
            uint32_t own, others;
        };
    };
};

/* Has anything been requested? The exit path asks this after each handler. A plain load, which the
 * compiler can make part of the comparison; what comes too late for it kicks. */
static inline bool attention_pending(const struct attention *a)
{
    return a->word != 0;
}

/* Has one of these? Any CPU may ask. It sees what the pCPU of the vCPU does to its own half with
 * some delay, unless it is that pCPU. */
static inline bool attention_requested(const struct attention *a, uint64_t requests)
{
    return __atomic_load_n(&a->word, __ATOMIC_SEQ_CST) & requests;
}

/* Makes requests, all of one half. */
static ALWAYS_INLINE void attention_request(struct attention *a, uint64_t requests)
{
    if (requests >> 32)
        __atomic_fetch_or(&a->others, (uint32_t)(requests >> 32), __ATOMIC_SEQ_CST);
    else
        __asm__ volatile("orl %1, %0" : "+m"(a->own) : "ri"((uint32_t)requests) : "cc", "memory");
}

/* Clears requests, all of one half. What a sender wrote before it made them can be read from here
 * on. */
static ALWAYS_INLINE void attention_clear(struct attention *a, uint64_t requests)
{
    if (requests >> 32)
        __atomic_fetch_and(&a->others, (uint32_t)(~requests >> 32), __ATOMIC_SEQ_CST);
    else
        __asm__ volatile("andl %1, %0" : "+m"(a->own) : "ri"((uint32_t)~requests) : "cc", "memory");
}
