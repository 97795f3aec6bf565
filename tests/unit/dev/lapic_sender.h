/* SPDX-License-Identifier: MIT */
/* A local APIC that records the messages it sends: their number, and the last one. Include it in
 * one file. */
#pragma once

#include "tests/unit/dev/lapic_world.h"

static struct lapic_message sent;
static unsigned sends;

static void host_send(void *context, const struct lapic_message *message)
{
    assert_ptr_equal(context, &apic);
    sent = *message;
    sends++;
}

static const struct lapic_host sending_host = {.now = host_now,
                                               .interrupt = host_interrupt,
                                               .timer = host_timer,
                                               .raise_nmi = host_nmi,
                                               .send = host_send};
