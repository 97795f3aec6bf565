/* SPDX-License-Identifier: MIT */
/* Preloaded into Bochs, which seeds RDRAND from the clock: with a constant seed two runs of a Linux
 * are the same to the instruction. */
void srand(unsigned seed);
void srand(unsigned seed)
{
    (void)seed;
}
