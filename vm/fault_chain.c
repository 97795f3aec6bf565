/* SPDX-License-Identifier: MIT */
#include "vm/fault_chain.h"

#include "arch/x86/exceptions.h"
#include "lib/string.h"

#define ERROR_CODE_IDT   BIT(1)      /* the error code of #NP, #GP, … names a gate of the IDT */
#define ERROR_CODE_INDEX BITS(15, 3) /* … with this vector */
#define PF_PRESENT       BIT(0)
#define NEAR_THE_STACK   4096u /* below RSP: where a delivery pushes its frame */

/* The outcome of the last step, which was raised during the delivery of `delivered`. */
static enum event_outcome outcome_of(const struct event *delivered, const struct fault_step *step)
{
    return event_combine(delivered, step->event.vector);
}

/* Repeats what the CPU did with the first `count` steps. */
static struct event delivery_after(const struct fault_chain *chain, unsigned count)
{
    struct event delivered = {0};
    for (unsigned i = 0; i < count; i++) {
        const struct fault_step *step = &chain->steps[i];
        if (!i || outcome_of(&delivered, step) == EVENT_SECOND)
            delivered = step->event;
        else if (outcome_of(&delivered, step) == EVENT_DOUBLE_FAULT)
            delivered = event_exception(VECTOR_DF, 0);
        else
            return (struct event){0};
    }
    return delivered;
}

struct event fault_chain_next(const struct fault_chain *chain)
{
    return delivery_after(chain, chain->count);
}

bool fault_chain_add(struct fault_chain *chain, const struct fault_step *step)
{
    chain->steps[chain->count++] = *step;
    chain->complete = !fault_chain_next(chain).valid;
    return !chain->complete && chain->count < FAULT_STEPS;
}

/* The mnemonic alone, "#PF" of "#PF page fault". */
static int mnemonic_length(const char *name)
{
    int length = 0;
    while (name[length] && name[length] != ' ')
        length++;
    return length;
}

static void event_short_name(const struct event *event, char *text, size_t size)
{
    if (event->type == EVENT_INTERRUPT)
        snprintf(text, size, "interrupt %#x", event->vector);
    else if (event->type == EVENT_NMI)
        snprintf(text, size, "an NMI");
    else if (event->type == EVENT_SOFTWARE_INTERRUPT)
        snprintf(text, size, "INT %#x", event->vector);
    else
        snprintf(text, size, "%.*s", mnemonic_length(exception_name(event->vector)),
                 exception_name(event->vector));
}

void fault_step_text(const struct fault_step *step, char *text, size_t size)
{
    const struct event *event = &step->event;
    size_t used;
    event_short_name(event, text, size);
    used = strlen(text);
    if (event->has_error)
        used += (size_t)snprintf(text + used, size - used, " (error code %#x)", event->error_code);
    if (used < size && event->type == EVENT_EXCEPTION && event->vector == VECTOR_PF)
        snprintf(text + used, size - used, " for address %#lx", step->address);
}

bool fault_chain_text(const struct fault_chain *chain, char *text, size_t size)
{
    char raised[64], during[32];
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 1; i < chain->count && used < size; i++) {
        struct event delivered = delivery_after(chain, i);
        event_short_name(&delivered, during, sizeof(during));
        fault_step_text(&chain->steps[i], raised, sizeof(raised));
        used += (size_t)snprintf(text + used, size - used, "%sthe delivery of %s raised %s",
                                 i > 1 ? "; " : "", during, raised);
    }
    return chain->count > 1;
}

/* "vector 14 (#PF)", or "vector 128", which is no exception. */
static void vector_text(unsigned vector, char *text, size_t size)
{
    const char *name = exception_name(vector);
    if (vector < 32)
        snprintf(text, size, "vector %u (%.*s)", vector, mnemonic_length(name), name);
    else
        snprintf(text, size, "vector %u", vector);
}

static bool gate_is_in_idt(unsigned vector, const struct fault_state *state)
{
    return (vector + 1) * state->gate_size - 1 <= state->idt_limit;
}

static void gate_advice(unsigned vector, const struct fault_state *state, char *text, size_t size)
{
    char name[32];
    vector_text(vector, name, sizeof(name));
    if (gate_is_in_idt(vector, state))
        snprintf(text, size, "the gate for %s, at %#lx in the IDT, is not present or not valid",
                 name, state->idt_base + (uint64_t)vector * state->gate_size);
    else
        snprintf(text, size, "the IDT's limit, %#x, excludes the gate for %s", state->idt_limit,
                 name);
}

static void page_fault_advice(uint64_t address, const struct fault_state *state, char *text,
                              size_t size)
{
    if (address - state->idt_base <= state->idt_limit)
        snprintf(text, size, "the page tables do not map the IDT");
    else if (state->rsp - address <= NEAR_THE_STACK)
        snprintf(text, size,
                 "its stack has overflowed, or RSP is wrong; with an IST stack for #DF the guest "
                 "can report this itself");
    else
        snprintf(text, size,
                 "the page tables do not allow access to the GDT, to the TSS, or to the stack that "
                 "the TSS names");
}

void fault_chain_advice(const struct fault_chain *chain, const struct fault_state *state,
                        char *text, size_t size)
{
    const struct event *broken = &chain->steps[1].event;
    unsigned vector = chain->steps[0].event.vector;
    bool page_fault = broken->vector == VECTOR_PF;
    char name[32];
    vector_text(vector, name, sizeof(name));
    if (chain->count < 2)
        snprintf(text, size, "look at the IDT, at the stack, and at the instruction at RIP");
    else if (!page_fault && broken->has_error && broken->error_code & ERROR_CODE_IDT)
        gate_advice((unsigned)field_get(broken->error_code, ERROR_CODE_INDEX), state, text, size);
    else if (!gate_is_in_idt(vector, state)) /* in real mode, where exceptions have no error code */
        gate_advice(vector, state, text, size);
    else if (page_fault)
        page_fault_advice(chain->steps[1].address, state, text, size);
    else if (broken->vector == VECTOR_SS || broken->vector == VECTOR_TS)
        snprintf(text, size, "the stack for the handler of %s is not usable; look at TSS and RSP",
                 name);
    else
        snprintf(text, size,
                 "the gate for %s leads to no valid code; look at its selector and offset, and at "
                 "the GDT",
                 name);
}
