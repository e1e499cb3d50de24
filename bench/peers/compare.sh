#!/bin/sh
# Ours and the peers in turns on this machine, ours first in every round, so that drift shows:
#
#   LLAMA_CPP=DIR bench/peers/compare.sh MODEL FILE.gguf OUT_DIR [ROUNDS]
#
# MODEL is what `autodidact --model` takes, FILE the same model's file for the peers. ROUNDS is 2 if
# not given. In the environment:
#   LLAMA_CPP    a llama.cpp checkout with its release build; without it llama.cpp is left out
#   PYTHON       the Python that has torch, transformers, peft and gguf (python3)
#   AUTODIDACT   our binary (target/release/autodidact)
#   MODES        modes of torch to try (f32,bf16): bfloat16 where the processor lacks it only takes time
#   SEAL_STEPS   padded steps of the reference loop to time, once, before extrapolating (2); 0: leave it out
set -eu

if [ $# -lt 3 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
model=$1 file=$2 out=$3 rounds=${4:-2}
here=$(dirname "$0")
python=${PYTHON:-python3}
autodidact=${AUTODIDACT:-target/release/autodidact}
modes=${MODES:-f32,bf16}
seal_steps=${SEAL_STEPS:-2}
case ",$modes," in
    *,bf16,*) training=$modes,autocast-bf16 ;;
    *) training=$modes ;;
esac
if [ ! -x "$autodidact" ]; then
    echo "compare.sh: no $autodidact; cargo build --release, or set AUTODIDACT" >&2
    exit 1
fi
mkdir -p "$out"

round=1
while [ "$round" -le "$rounds" ]; do
    echo "== round $round of $rounds, load $(cut -d' ' -f1-3 /proc/loadavg)" >&2
    "$autodidact" bench engine --model "$model" --json > "$out/ours-engine-$round.json"
    "$python" "$here/train_speed.py" "$file" --modes "$training" > "$out/train-$round.jsonl"
    "$python" "$here/generate_speed.py" "$file" --modes "$modes" > "$out/generate-$round.jsonl"
    if [ -n "${LLAMA_CPP:-}" ]; then
        "$python" "$here/llama_cpp.py" --llama-cpp "$LLAMA_CPP" --model "$file" \
            --folder "$out/quantised" > "$out/llama_cpp-$round.jsonl"
    fi
    round=$((round + 1))
done

if [ "$seal_steps" -gt 0 ]; then
    "$autodidact" bench edits --model "$model" --json > "$out/ours-edits.json"
    : > "$out/seal.jsonl"
    for dtype in $(echo "$modes" | tr , ' '); do
        "$python" "$here/seal_inner_loop.py" "$file" --dtype "$dtype" \
            --max-steps "$seal_steps" >> "$out/seal.jsonl"
        "$python" "$here/seal_inner_loop.py" "$file" --dtype "$dtype" \
            --no-padding --max-steps $((seal_steps * 10)) >> "$out/seal.jsonl"
    done
fi

"$python" "$here/compare.py" "$out"/*.json "$out"/*.jsonl | tee "$out/table.md"
