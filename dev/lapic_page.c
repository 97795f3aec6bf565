/* SPDX-License-Identifier: MIT */
/* See the header. Pure. */
#include "dev/lapic_page.h"

#include "lib/assert.h"
#include "lib/string.h"
#include "dev/lapic_internal.h"

#define PAGE_BYTES 4096u

static const unsigned copied[] = {LAPIC_ID, LAPIC_VERSION, LAPIC_LDR};

bool lapic_page_answers(unsigned reg)
{
    for (unsigned i = 0; i < ARRAY_SIZE(copied); i++)
        if (reg == copied[i])
            return true;
    return reg == LAPIC_TPR || reg == LAPIC_PPR || (reg >= LAPIC_ISR && reg < LAPIC_IRR + 8);
}

/* A RDMSR reads 8 bytes of the page, so that all words between the registers have to be 0. The CPU
 * computes PPR at each entry. */
void lapic_to_page(struct lapic *l, uint32_t *page)
{
    BUG_ON(l->page || l->mode != LAPIC_X2APIC);
    memset(page, 0, PAGE_BYTES);
    for (unsigned i = 0; i < ARRAY_SIZE(copied); i++)
        page[copied[i] * PAGE_REGISTER] = lapic_read(l, copied[i]);
    page[LAPIC_TPR * PAGE_REGISTER] = l->tpr;
    for (unsigned i = 0; i < 8; i++) {
        page[(LAPIC_ISR + i) * PAGE_REGISTER] = (uint32_t)(l->isr[i / 2] >> (i % 2 * 32));
        page[(LAPIC_TMR + i) * PAGE_REGISTER] = (uint32_t)(l->tmr[i / 2] >> (i % 2 * 32));
        page[(LAPIC_IRR + i) * PAGE_REGISTER] = (uint32_t)(l->irr[i / 2] >> (i % 2 * 32));
    }
    l->page = page;
}

void lapic_from_page(struct lapic *l)
{
    const uint32_t *page = l->page;
    l->tpr = lapic_tpr(l, page);
    for (unsigned i = 0; i < 4; i++) {
        l->isr[i] = set_word(l->isr, page, LAPIC_ISR, i);
        l->tmr[i] = set_word(l->tmr, page, LAPIC_TMR, i);
        l->irr[i] = set_word(l->irr, page, LAPIC_IRR, i);
    }
    l->page = NULL;
}

void lapic_page_reset(struct lapic *l)
{
    l->page[LAPIC_TPR * PAGE_REGISTER] = 0;
    for (unsigned reg = LAPIC_ISR; reg < LAPIC_IRR + 8; reg++)
        l->page[reg * PAGE_REGISTER] = 0;
}

uint32_t lapic_page_value(const struct lapic *l, unsigned reg)
{
    return l->page[reg * PAGE_REGISTER];
}

/* The CPU's self-IPI differs from the APIC's in two cases: it ignores that the APIC is disabled by
 * software, and does not clear the vector's TMR bit (SDM 3, 30.1.5). */
void lapic_page_status(const struct lapic *l, struct lapic_virtual *status)
{
    int requesting = set_highest(l->irr, l->page, LAPIC_IRR);
    int servicing = set_highest(l->isr, l->page, LAPIC_ISR);
    status->rvi = requesting < 0 ? 0 : (uint8_t)requesting;
    status->svi = servicing < 0 ? 0 : (uint8_t)servicing;
    status->self_ipi = lapic_accepts(l);
    for (unsigned i = 0; i < 4; i++) {
        status->eoi_exits[i] = set_word(l->tmr, l->page, LAPIC_TMR, i);
        if (status->eoi_exits[i])
            status->self_ipi = false;
    }
    status->irr_exits = 0;
    if (lapic_timer_waits(l)) {
        uint8_t vector = (uint8_t)lapic_lvt(l, LAPIC_LVT_TIMER);
        status->irr_exits = LAPIC_IRR + vector / 32;
        status->eoi_exits[vector / 64] |= BIT(vector % 64);
    }
}

/* The timer is looked at again, because its next expiry needs an exit now. */
void lapic_page_ended(struct lapic *l, uint8_t vector)
{
    if (set_has(l->tmr, l->page, LAPIC_TMR, vector))
        l->host->end_level(l->context, vector);
    if (vector == (uint8_t)lapic_lvt(l, LAPIC_LVT_TIMER))
        l->host->timer(l->context);
    l->host->interrupt(l->context);
}
