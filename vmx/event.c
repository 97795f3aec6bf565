/* SPDX-License-Identifier: MIT */
/* Decides which event the next VM entry delivers; see the header. Pure. */
#include "arch/x86/reg_bits.h"
#include "vmx/event.h"

#define VECTOR_SET_ERROR_CODE                                                             \
    (BIT(VECTOR_DF) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) | \
     BIT(VECTOR_PF) | BIT(VECTOR_AC) | BIT(VECTOR_CP))
#define VECTOR_SET_CONTRIBUTORY                                                           \
    (BIT(VECTOR_DE) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) | \
     BIT(VECTOR_CP))
#define VECTOR_SET_PAGE_FAULT (BIT(VECTOR_PF) | BIT(VECTOR_VE))
#define VECTOR_SET_NO_FAULT                                                                \
    (BIT(VECTOR_DB) | BIT(VECTOR_NMI) | BIT(VECTOR_BP) | BIT(VECTOR_OF) | BIT(VECTOR_DF) | \
     BIT(VECTOR_MC))

const char *event_type_name(unsigned type)
{
    static const char *const names[] = {
        "external interrupt", "reserved",           "NMI",
        "hardware exception", "software interrupt", "privileged software exception",
        "software exception", "other event",
    };
    return names[type & 7];
}

static bool vector_in_set(uint64_t set, uint8_t vector)
{
    return vector < 32 && set & BIT(vector);
}

bool event_vector_has_error(uint8_t vector)
{
    return vector_in_set(VECTOR_SET_ERROR_CODE, vector);
}

bool event_is_fault(uint8_t vector)
{
    return !vector_in_set(VECTOR_SET_NO_FAULT, vector);
}

struct event event_exception(uint8_t vector, uint32_t error_code)
{
    bool has_error = event_vector_has_error(vector);
    return (struct event){
        .valid = true,
        .vector = vector,
        .type = EVENT_EXCEPTION,
        .has_error = has_error,
        .error_code = has_error ? error_code : 0,
    };
}

uint32_t event_encode(const struct event *event)
{
    if (!event->valid)
        return 0;
    return (uint32_t)(EVENT_INFO_VALID | field_put(event->type, EVENT_INFO_TYPE) | event->vector |
                      (event->has_error ? EVENT_INFO_ERROR_CODE : 0));
}

/* Returns true for an event that an instruction raised and whose handler returns to the next
 * instruction. */
static bool event_is_software(uint8_t type)
{
    return type == EVENT_SOFTWARE_INTERRUPT || type == EVENT_PRIVILEGED_EXCEPTION ||
           type == EVENT_SOFTWARE_EXCEPTION;
}

struct event event_decode(uint32_t info, uint32_t error_code, uint32_t length)
{
    uint8_t type = (uint8_t)field_get(info, EVENT_INFO_TYPE);
    if (!(info & EVENT_INFO_VALID) || type == EVENT_RESERVED || type == EVENT_OTHER)
        return (struct event){0};

    bool has_error = info & EVENT_INFO_ERROR_CODE;
    return (struct event){
        .valid = true,
        .vector = (uint8_t)info,
        .type = type,
        .has_error = has_error,
        .error_code = has_error ? error_code : 0,
        .length = event_is_software(type) ? length : 0,
    };
}

/* #CP counts as a vector without an error code: it was introduced after the rule, and a CPU that
 * lacks the any-error-code capability has no CET. */
void event_fit(struct event *event, const struct event_state *state)
{
    bool pushes = event_vector_has_error(event->vector) && event->vector != VECTOR_CP;

    if (event->type != EVENT_EXCEPTION || !state->protected_mode)
        event->has_error = false;
    else if (!state->any_error_code)
        event->has_error = pushes;
    event->error_code = event->has_error ? event->error_code & 0xffff : 0;
}

bool event_interrupt_allowed(const struct event_state *state)
{
    return state->rflags & RFLAGS_IF && !state->trap &&
           !(state->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) &&
           (state->activity == ACTIVITY_ACTIVE || state->activity == ACTIVITY_HLT);
}

/* Some CPUs refuse the injection of an NMI with blocking by STI, so the NMI waits for one
 * instruction on all CPUs. */
bool event_nmi_allowed(const struct event_state *state)
{
    return !(state->interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS | BLOCKING_BY_NMI)) &&
           !state->trap && !state->holds_nmis && state->activity != ACTIVITY_WAIT_FOR_SIPI;
}

enum event_outcome event_combine(const struct event *first, uint8_t second)
{
    bool contributory = vector_in_set(VECTOR_SET_CONTRIBUTORY, second);
    bool page_fault = vector_in_set(VECTOR_SET_PAGE_FAULT, second);

    if (first->type != EVENT_EXCEPTION) /* interrupts, NMIs and INT n are benign */
        return EVENT_SECOND;
    if (first->vector == VECTOR_DF)
        return contributory || page_fault ? EVENT_SHUTDOWN : EVENT_SECOND;
    if (vector_in_set(VECTOR_SET_PAGE_FAULT, first->vector))
        return contributory || page_fault ? EVENT_DOUBLE_FAULT : EVENT_SECOND;
    if (vector_in_set(VECTOR_SET_CONTRIBUTORY, first->vector))
        return contributory ? EVENT_DOUBLE_FAULT : EVENT_SECOND;
    return EVENT_SECOND;
}

/* The event that the entry delivers regardless of whether the guest can be interrupted. */
static struct event event_unconditional(const struct event_pending *pending, bool *shutdown)
{
    if (!pending->exception.valid)
        return pending->requeue;
    if (!pending->requeue.valid)
        return pending->exception;

    switch (event_combine(&pending->requeue, pending->exception.vector)) {
    case EVENT_DOUBLE_FAULT:
        return event_exception(VECTOR_DF, 0);
    case EVENT_SHUTDOWN:
        *shutdown = true;
        return (struct event){0};
    default:
        return pending->exception;
    }
}

struct event_plan event_plan(const struct event_pending *pending, const struct event_state *state)
{
    struct event_plan plan = {0};
    struct event_state now = *state;
    unsigned nmis = pending->nmis;
    bool interrupt = pending->interrupt;

    plan.inject = event_unconditional(pending, &plan.shutdown);
    if (plan.inject.valid && plan.inject.type == EVENT_NMI)
        now.interruptibility &= ~(uint32_t)BLOCKING_BY_NMI;
    if (pending->iret_again && !plan.inject.valid)
        now.interruptibility |= (uint32_t)BLOCKING_BY_NMI;
    plan.interruptibility = now.interruptibility;
    if (plan.shutdown)
        return plan;
    if (!plan.inject.valid && nmis && event_nmi_allowed(&now)) {
        plan.inject = (struct event){.valid = true, .vector = VECTOR_NMI, .type = EVENT_NMI};
        nmis--;
    }
    if (!plan.inject.valid && interrupt && event_interrupt_allowed(&now)) {
        plan.inject = (struct event){.valid = true, .vector = pending->vector};
        interrupt = false;
    }
    event_fit(&plan.inject, state);
    /* For an NMI that is held, the window would be open already, so that the guest would never
     * execute an instruction. On some CPUs the same is true with blocking by STI (SDM 3, 26.2):
     * then the window for interrupts is used, which that blocking closes on all CPUs. */
    plan.interrupt_window = interrupt;
    if (!nmis || state->holds_nmis)
        return plan;
    bool by_sti = !plan.inject.valid && now.interruptibility & BLOCKING_BY_STI;
    plan.nmi_window = !by_sti;
    plan.interrupt_window |= by_sti;
    return plan;
}
