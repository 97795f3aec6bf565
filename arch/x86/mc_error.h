/* SPDX-License-Identifier: MIT */
/*
 * Errors that the hardware reports in its machine-check banks (SDM 3, chapter 16): what the
 * registers of a bank say, in words, and what can be done about it.
 *
 * Pure: arch/x86/machine_check.c reads the registers.
 */
#pragma once

#include "lib/bits.h"
#include "lib/compiler.h"
#include "lib/types.h"

/* IA32_MCG_CAP (SDM 3, 16.3.1.1). The registers of more banks than 32 would be those of VMX. */
#define MCG_CAP_COUNT     BITS(7, 0)
#define MCG_CAP_CTL       BIT(8)  /* IA32_MCG_CTL exists */
#define MCG_CAP_CORRECTED BIT(10) /* banks count corrected errors */
#define MCG_CAP_RECOVERY  BIT(24) /* banks say whether software can recover: S and AR */
#define MC_BANKS_MAX      32u

/* IA32_MCG_STATUS (SDM 3, 16.3.1.2). */
#define MCG_STATUS_RIPV BIT(0)
#define MCG_STATUS_MCIP BIT(2) /* the CPU has raised #MC */

/* IA32_MCi_STATUS (SDM 3, 16.3.2.2). */
#define MC_STATUS_AR    BIT(55)
#define MC_STATUS_S     BIT(56)
#define MC_STATUS_PCC   BIT(57)
#define MC_STATUS_ADDRV BIT(58)
#define MC_STATUS_MISCV BIT(59)
#define MC_STATUS_UC    BIT(61)
#define MC_STATUS_VAL   BIT(63)

/* An error, as a bank of a CPU has it. */
struct mc_error {
    uint32_t cpu, bank;
    uint64_t cap, global;           /* IA32_MCG_CAP and IA32_MCG_STATUS of that CPU */
    uint64_t status, address, misc; /* 0 if the status says that they are not valid */
};

/* The errors that several CPUs have met at the same time. */
#define MC_ERRORS_MAX 32u
struct mc_errors {
    struct mc_error row[MC_ERRORS_MAX];
    unsigned count, dropped; /* those for which there was no room */
};

/* Adds an error, unless another CPU that shares the bank has added it. */
void mc_errors_add(struct mc_errors *errors, const struct mc_error *error);

/* The error that most probably led to the machine check, or NULL if there is none. */
const struct mc_error *mc_errors_worst(const struct mc_errors *errors);

/* The number of banks that can be accessed. */
unsigned mc_bank_count(uint64_t cap);

/* The flags of IA32_MCG_STATUS, for example "RIPV, MCIP"; "none". */
void mc_global_text(uint64_t global, char *text, unsigned size);

/* What the 16 bits of an MCA error code mean (SDM 3, 16.9), for example "TLB, data, level 1". */
void mc_code_text(uint16_t code, char *text, unsigned size);

/* The error in two lines, without newlines and of at most 200 characters each: its status with the
 * flags and the error code in words; and what the flags mean together (SDM 3, table 16-6), with the
 * address that belongs to it. */
#define MC_TEXT_SIZE 208u
void mc_error_text(const struct mc_error *error, char *text, unsigned size);
void mc_detail_text(const struct mc_error *error, char *text, unsigned size);

/* What to do about an error; NULL: about a machine check for which no bank has one. */
const char *mc_advice(const struct mc_error *error);
