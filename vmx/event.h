/* SPDX-License-Identifier: MIT */
/*
 * Events on their way into a guest: interrupts, NMIs and exceptions (SDM 3, 25.8.3 and 27.6).
 *
 * An exit can interrupt the delivery of an event. The next entry must then deliver that event
 * again, ahead of any new event, and NMI blocking must be restored. An entry delivers only one
 * event; for other pending events, window exiting makes the guest exit as soon as it can take one.
 * event_plan() makes these decisions from the pending events and the state of the guest.
 *
 * Pure: vmx/inject.c reads the VMCS fields and writes them.
 */
#pragma once

#include "lib/bits.h"

#include <stdbool.h>
#include <stdint.h>

/* VM-entry and VM-exit interruption information, and IDT-vectoring information. */
#define EVENT_INFO_VECTOR        BITS(7, 0)
#define EVENT_INFO_TYPE          BITS(10, 8)
#define EVENT_INFO_ERROR_CODE    BIT(11)
#define EVENT_INFO_NMI_UNBLOCKED BIT(12) /* exits only: IRET ended NMI blocking, then faulted */
#define EVENT_INFO_VALID         BIT(31)

enum event_type {
    EVENT_INTERRUPT = 0,
    EVENT_RESERVED = 1,
    EVENT_NMI = 2,
    EVENT_EXCEPTION = 3,            /* raised by hardware */
    EVENT_SOFTWARE_INTERRUPT = 4,   /* INT n */
    EVENT_PRIVILEGED_EXCEPTION = 5, /* INT1 */
    EVENT_SOFTWARE_EXCEPTION = 6,   /* INT3, INTO */
    EVENT_OTHER = 7,                /* pending MTF exit, if injected with vector 0 */
};

/* Guest interruptibility state (SDM 3, 25.4.2). */
#define BLOCKING_BY_STI    BIT(0)
#define BLOCKING_BY_MOV_SS BIT(1)
#define BLOCKING_BY_SMI    BIT(2)
#define BLOCKING_BY_NMI    BIT(3)
#define ENCLAVE_INTERRUPT  BIT(4)

/* Guest activity state (SDM 3, 25.4.2). */
enum activity_state {
    ACTIVITY_ACTIVE,
    ACTIVITY_HLT,
    ACTIVITY_SHUTDOWN,
    ACTIVITY_WAIT_FOR_SIPI,
};

enum exception_vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_UD = 6,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_VE = 20,
    VECTOR_CP = 21,
};

/* An event; all zeros mean no event. */
struct event {
    bool valid;
    uint8_t vector;
    uint8_t type; /* enum event_type */
    bool has_error;
    uint32_t error_code;
    uint32_t length; /* length of the instruction that raised a software event, else 0 */
};

/* The name of each of the eight types: "external interrupt", "NMI" and so on. */
const char *event_type_name(unsigned type);

/* Returns true if exceptions with this vector push an error code in protected mode (SDM 3,
 * 6.3.1). */
bool event_vector_has_error(uint8_t vector);

/* A hardware exception as in protected mode: with an error code if its vector pushes one.
 * event_fit() adapts it to the guest's mode when it is delivered. */
struct event event_exception(uint8_t vector, uint32_t error_code);

/* Returns true if exceptions with this vector are faults, which push RFLAGS with RF set (SDM 3,
 * 18.3.1.1). */
bool event_is_fault(uint8_t vector);

/* The VM-entry interruption information of an event; 0 for no event. */
uint32_t event_encode(const struct event *event);

/* The event that VM-exit interruption information or IDT-vectoring information describes; no event
 * if it is not valid or its type is reserved. `length` is the VM-exit instruction length, which is
 * used only for software events. */
struct event event_decode(uint32_t info, uint32_t error_code, uint32_t length);

/* The state of the guest that decides which events it can take now. */
struct event_state {
    uint64_t rflags;
    uint32_t interruptibility;
    uint32_t activity;
    bool protected_mode; /* CR0.PE */
    bool trap;           /* the entry delivers a pending debug trap, before interrupts and NMIs */
    bool any_error_code; /* IA32_VMX_BASIC[56]: error codes are optional for all exceptions */
    bool holds_nmis;     /* a TD has not read the information of its last #VE yet: NMIs wait */
};

/* Changes an event so that VM entry accepts it in this state (SDM 3, 27.2.1.3). An event in the
 * form in which an exit reported it may be refused: the guest's mode may have changed since the
 * event was raised, and some processors report an error code in real mode, in which none may be
 * delivered. */
void event_fit(struct event *event, const struct event_state *state);

bool event_interrupt_allowed(const struct event_state *state);
bool event_nmi_allowed(const struct event_state *state);

enum event_outcome {
    EVENT_SECOND, /* the second exception is delivered; the first is dropped, or occurs again */
    EVENT_DOUBLE_FAULT, /* #DF is delivered instead of both */
    EVENT_SHUTDOWN,     /* a triple fault */
};

/* The outcome if a hardware exception with vector `second` is raised during the delivery of `first`
 * (SDM 3, table 6-5). */
enum event_outcome event_combine(const struct event *first, uint8_t second);

struct event_pending {
    struct event requeue;   /* its delivery was interrupted by the last exit */
    struct event exception; /* raised by the hypervisor at the last exit */
    bool iret_again;        /* the instruction at RIP is an IRET that has ended NMI blocking */
    unsigned nmis;          /* number of pending NMIs: 0, 1 or 2 */
    bool interrupt;         /* an interrupt is pending */
    uint8_t vector;         /* the pending interrupt's vector */
};

struct event_plan {
    struct event inject;   /* the event that this entry delivers, or no event */
    bool nmi_window;       /* exit as soon as the guest can take an NMI */
    bool interrupt_window; /* exit as soon as the guest could take an interrupt */
    bool shutdown;         /* a triple fault: the guest must not be entered */

    /* The interruptibility state for the entry (SDM 3, 28.2.3 and 33.7.1.2). NMI blocking after an
     * exit may differ in two cases from what the entry needs:
     *
     * The CPU sets it when it begins to deliver an NMI. If an exit interrupted that delivery, the
     * entry that repeats the delivery sets it again, and is refused if it is already set. If an
     * exception replaces the NMI, the blocking stays, as it would without the exit.
     *
     * IRET clears it before any event that can make IRET exit. If IRET is executed again, the
     * blocking has to be restored, or an NMI could be delivered before the IRET. If the exit is
     * reflected to the guest as an exception, however, the IRET has faulted, and NMIs are no longer
     * blocked. */
    uint32_t interruptibility;
};

/* Decides which event the next entry delivers. The order is: an interrupted delivery, an exception,
 * an NMI, an interrupt. inject.type tells which of the pending events it is. */
struct event_plan event_plan(const struct event_pending *pending, const struct event_state *state);
