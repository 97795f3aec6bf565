#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs each prove_…() of tests/proofs/*.c, or only those named, through CBMC,
# as many at a time as there are CPUs.
# Usage: prove.sh <folder for an unpacked CBMC> [proof...]
sources="mmu/spte.c mmu/transition.c ept/caps.c ept/misconfig.c ept/secure.c ept/secure_frames.c
         ept/secure_walk.c ept/secure_remove.c ept/secure_blocks.c lib/host_tlb.c"

# One proof; xargs calls this below. Lines are printed whole, so those of two proofs do not mix.
if [ "$1" = --one ]; then
    if output=$(timeout 300 $CBMC --function "$3" -I. "$2" $sources --unwind 20 \
        --unwinding-assertions --drop-unused-functions \
        --no-standard-checks --slice-formula 2>&1); then
        echo "proved $3"
    else
        printf 'FAILED %s\n%s\n' "$3" \
            "$(printf '%s\n' "$output" | grep -E 'FAILURE|error|rror:' | head -5)"
    fi
    exit 0
fi

folder=$1
shift
if ! CBMC=$("$(dirname "$0")/cbmc.sh" "$folder"); then
    echo "prove: CBMC is not available, so nothing is proved; install cbmc, or unset NO_DEPS" >&2
    echo "0 proved, 0 failed, 1 skipped"
    exit 0
fi
export CBMC
proofs=$(for file in tests/proofs/*.c; do
    for proof in $(sed -n 's/^void \(prove_[a-z0-9_]*\)(void)$/\1/p' "$file"); do
        case " ${*:-$proof} " in *" $proof "*) echo "$file $proof" ;; esac
    done
done)
results=$(mktemp)
echo "$proofs" | xargs -r -n 2 -P "$(nproc)" "$0" --one | tee "$results"
proved=$(grep -c '^proved ' "$results")
failed=$(($(echo "$proofs" | grep -c .) - proved)) # also those whose process was killed
rm "$results"
echo "$proved proved, $failed failed"
[ "$failed" = 0 ] && [ "$proved" -gt 0 ]
