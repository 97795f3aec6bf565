/*
 * Events on their way into a guest: interrupts, NMIs and exceptions (SDM 3, 25.8.3 and 27.6).
 *
 * An exit can cut the delivery of an event short. The event must then be delivered again at the
 * next entry, ahead of anything new, and NMI blocking must be put back to what it was. An entry
 * delivers one event; for the others the guest is left as soon as it can take them, by the window
 * exits. event_plan() makes these decisions, as a function of what is pending and of what the
 * guest can take.
 *
 * Pure: the words come from the VMCS and go back there elsewhere (vmx/inject.c).
 */
#pragma once

#include "lib/bits.h"

#include <stdbool.h>
#include <stdint.h>

/* VM-entry and VM-exit interruption information, and IDT-vectoring information. */
#define EVENT_INFO_VECTOR        BITS(7, 0)
#define EVENT_INFO_TYPE          BITS(10, 8)
#define EVENT_INFO_ERROR_CODE    BIT(11)
#define EVENT_INFO_NMI_UNBLOCKED BIT(12) /* VM exit only: IRET ended NMI blocking, then faulted */
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

/* All zero: no event. */
struct event {
    bool valid;
    uint8_t vector;
    uint8_t type; /* enum event_type */
    bool has_error;
    uint32_t error_code;
    uint32_t length; /* of the instruction that raised a software event, else 0 */
};

/* "external interrupt", "NMI" and so on for the eight types. */
const char *event_type_name(unsigned type);

/* True if exceptions with this vector push an error code in protected mode (SDM 3, 6.3.1). */
bool event_vector_has_error(uint8_t vector);

/* A hardware exception, as protected mode has it: with an error code if its vector pushes one. What
 * the guest's mode makes of that is decided when it is delivered, by event_fit(). */
struct event event_exception(uint8_t vector, uint32_t error_code);

/* True if the vector's exceptions are faults: they push RFLAGS with RF set (SDM 3, 18.3.1.1). */
bool event_is_fault(uint8_t vector);

/* The interruption-information word of an event; 0 for no event. */
uint32_t event_encode(const struct event *event);

/* The event that interruption or IDT-vectoring information describes; none if its valid bit is
 * clear or its type is reserved. `length` is the VM-exit instruction length, which holds only for
 * software events. */
struct event event_decode(uint32_t info, uint32_t error_code, uint32_t length);

/* What the guest can take now. */
struct event_state {
    uint64_t rflags;
    uint32_t interruptibility;
    uint32_t activity;
    bool protected_mode; /* CR0.PE */
    bool trap;           /* the entry delivers a pending debug trap, ahead of interrupts and NMIs */
    bool any_error_code; /* IA32_VMX_BASIC[56]: no vector must or must not have an error code */
};

/* Gives an event the form that VM entry accepts of it in this state (SDM 3, 27.2.1.3). The form in
 * which an exit reported an event need not be one: the mode may have changed since it was raised,
 * and some processors report an error code in real mode, where none may be delivered. */
void event_fit(struct event *event, const struct event_state *state);

bool event_interrupt_allowed(const struct event_state *state);
bool event_nmi_allowed(const struct event_state *state);

enum event_outcome {
    EVENT_SECOND,       /* the second exception is delivered, the first is dropped or comes again */
    EVENT_DOUBLE_FAULT, /* #DF instead of both */
    EVENT_SHUTDOWN,     /* the triple fault */
};

/* What comes of a hardware exception with vector `second`, raised while `first` was delivered
 * (SDM 3, table 6-5). */
enum event_outcome event_combine(const struct event *first, uint8_t second);

struct event_pending {
    struct event requeue;   /* delivery was cut short by the last exit */
    struct event exception; /* raised on the guest's behalf at the last exit */
    bool iret_again;        /* an IRET ended NMI blocking before it exited, and stands at RIP */
    unsigned nmis;          /* waiting: 0, 1 or 2 */
    bool interrupt;         /* an interrupt is waiting, */
    uint8_t vector;         /* this one */
};

struct event_plan {
    struct event inject; /* what this entry delivers, or no event */
    bool nmi_window;     /* leave the guest as soon as it can take an NMI */
    bool interrupt_window;
    bool shutdown; /* a triple fault: the guest must not be entered */

    /* The interruptibility state to enter with (SDM 3, 28.2.3 and 33.7.1.2). Two exits leave NMI
     * blocking other than the entry needs it:
     *
     * The CPU sets it when it begins to deliver an NMI. If that delivery was cut short, the entry
     * that repeats it sets it anew and is refused if it is set already; but if an exception takes
     * the NMI's place, the blocking stays, as it would have on a CPU that was not interrupted.
     *
     * IRET clears it before anything that can make it exit. If it is executed again, the blocking
     * has to be put back, or an NMI would be taken before the IRET; but if the exit is reflected to
     * the guest as an exception, the IRET has faulted, and NMIs are no longer blocked after that.
     */
    uint32_t interruptibility;
};

/* Decides what the next entry delivers. In order: the interrupted delivery, an exception, an NMI,
 * an interrupt. inject.type says which of the pending ones was used up. */
struct event_plan event_plan(const struct event_pending *pending, const struct event_state *state);
