/* SPDX-License-Identifier: MIT */
#include "vm/visit.h"

#include "arch/x86/tsc.h"
#include "vm/sleep.h"
#include "vm/vcpu.h"

/* The end of an open list. A closed list is NULL, so that it is what a vCPU begins with. */
static struct visit open_end;

static void visit_finish(struct visit *visit, uint32_t how)
{
    __atomic_store_n(&visit->done, how, __ATOMIC_RELEASE); /* the visitor may free it now */
}

void visit_begin(struct vcpu *vcpu, struct visit *visit)
{
    struct visit *first = __atomic_load_n(&vcpu->visits, __ATOMIC_RELAXED);
    visit->done = 0;
    do {
        if (!first) {
            visit_finish(visit, VISIT_MISSED);
            return;
        }
        visit->next = first;
    } while (!__atomic_compare_exchange_n(&vcpu->visits, &first, visit, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    attention_request(&vcpu->vmx.attention, ATTENTION_VISIT);
    sleep_alert(vcpu);
}

/* Replaces the list by an empty one, open or closed, and returns its visits, the oldest first. */
static struct visit *visits_take(struct vcpu *vcpu, struct visit *empty)
{
    struct visit *newest = __atomic_exchange_n(&vcpu->visits, empty, __ATOMIC_SEQ_CST);
    struct visit *oldest = NULL;
    while (newest && newest != &open_end) {
        struct visit *visit = newest;
        newest = visit->next;
        visit->next = oldest;
        oldest = visit;
    }
    return oldest;
}

/* The request is cleared before the list is taken: a visitor that adds to it later makes the
 * request again. */
void visit_receive(struct vcpu *vcpu)
{
    uint64_t start = rdtsc();
    attention_clear(&vcpu->vmx.attention, ATTENTION_VISIT);
    if (!visit_is_open(vcpu))
        return;
    for (struct visit *visit = visits_take(vcpu, &open_end), *next; visit; visit = next) {
        next = visit->next;
        visit->call(vcpu, visit->context);
        visit_finish(visit, VISIT_CALLED);
    }
    vcpu->budget_end += rdtsc() - start;
}

void visit_open(struct vcpu *vcpu)
{
    if (!visit_is_open(vcpu))
        __atomic_store_n(&vcpu->visits, &open_end, __ATOMIC_SEQ_CST);
}

void visit_close(struct vcpu *vcpu)
{
    for (struct visit *visit = visits_take(vcpu, NULL), *next; visit; visit = next) {
        next = visit->next;
        visit_finish(visit, VISIT_MISSED);
    }
}

bool visit_is_open(const struct vcpu *vcpu)
{
    return __atomic_load_n(&vcpu->visits, __ATOMIC_SEQ_CST);
}
