#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs each prove_…() of tests/proofs/*.c, or only those named, through CBMC.
# Usage: prove.sh <folder for an unpacked CBMC> [proof...]
sources="mmu/spte.c mmu/transition.c ept/caps.c ept/misconfig.c ept/secure.c ept/secure_frames.c
         ept/secure_walk.c ept/secure_remove.c ept/secure_blocks.c lib/host_tlb.c"
folder=$1
shift
if ! cbmc=$("$(dirname "$0")/cbmc.sh" "$folder"); then
    echo "prove: CBMC is not available, so nothing is proved; install cbmc, or unset NO_DEPS" >&2
    echo "0 proved, 0 failed, 1 skipped"
    exit 0
fi
results=$(mktemp -d)
proved=0 failed=0
for file in tests/proofs/*.c; do
    for proof in $(sed -n 's/^void \(prove_[a-z0-9_]*\)(void)$/\1/p' "$file"); do
        case " ${*:-$proof} " in *" $proof "*) ;; *) continue ;; esac
        if timeout 300 $cbmc --function "$proof" -I. "$file" $sources --unwind 20 \
            --unwinding-assertions --drop-unused-functions \
            --no-standard-checks --slice-formula > "$results/$proof" 2>&1; then
            echo "proved $proof"
            proved=$((proved + 1))
        else
            echo "FAILED $proof"
            grep -E 'FAILURE|error|rror:' "$results/$proof" | head -5
            failed=$((failed + 1))
        fi
    done
done
rm -r "$results"
echo "$proved proved, $failed failed"
[ "$failed" = 0 ] && [ "$proved" -gt 0 ]
