/* SPDX-License-Identifier: MIT */
/* Private and shared memory: the stolen address bits, the GHCI's hypercalls, and #VE. */
#pragma once

#include "guest/programs/rt/rt.h"

/* The stolen bits as values, 0 where the VM has none. */
uint64_t shared_bit(void);
uint64_t code_bit(void); /* the execute-only bit */

/* The registers of VMCALL with RAX = 0. */
struct ghci_call {
    uint64_t rax, rcx, r10, r11, r12, r13, r14, r15;
};
void ghci(struct ghci_call *call);

#define GHCI_ALL   0xfc00ull /* RCX: R10 to R15 */
#define GHCI_MMIO  48ull
#define GHCI_INFO  0x10000ull
#define GHCI_MAP   0x10001ull
#define GHCI_RETRY 1ull
#define GHCI_WRONG BIT(63)
#define GHCI_ALIGN (BIT(63) | 2)
#define GHCI_LEAF  (BIT(63) | 3)

/* Calls MapGPA repeatedly until the conversion is complete. Returns R10. */
uint64_t map_gpa(uint64_t gpa, uint64_t size);

/* Calls RequestMMIO. Returns R10. */
uint64_t mmio_request(uint64_t gpa, unsigned size, bool write, uint64_t *data);

/* A load and a store by an instruction of two bytes, which accesses [RDI] with EAX. */
uint32_t load2(uint64_t address);
void store2(uint64_t address, uint32_t value);

/* #VE: its information, and a handler that performs load2() and store2() by RequestMMIO. */
#define VECTOR_DF 8
#define VECTOR_VE 20

struct ve_info {
    uint32_t reason, busy;
    uint64_t qualification, linear_address, physical_address;
    uint16_t eptp_index;
};
#define VE_INFO ((volatile struct ve_info *)(uintptr_t)VE_AREA_BASE)

extern struct ve_info last_ve;
extern unsigned ve_count;
void handle_ve(void);
