/* SPDX-License-Identifier: MIT */
/* Preloaded into Bochs, which seeds its RDRAND from the clock. Without that seed, two runs of a
 * Linux execute exactly the same instructions. */
void srand(unsigned seed);
void srand(unsigned seed)
{
    (void)seed;
}
