"""What the speed scripts share: how a peer is started, loaded, timed and reported.

Each figure is one line of JSON on standard output; what a person wants to watch goes to standard
error. A figure is the median of its repeats, with the slowest and the fastest beside it, and says on
what it was taken: threads, versions, the processor's best instruction set as torch sees it.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import sys
import time

# glibc hands large freed buffers back to the system and faults them in again at the next step, which
# costs torch up to half its time on a CPU. With these it keeps them. Other C libraries ignore them.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(1 << 26),
    "MALLOC_ARENA_MAX": "1",
}


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file or a Hugging Face directory")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores"
    )
    parser.add_argument(
        "--default-malloc",
        action="store_true",
        help="leave malloc as it is, instead of having it keep its memory",
    )
    parser.add_argument(
        "--limit", type=float, default=240, help="seconds after which a figure gets no more repeats"
    )
    return parser


def start(options: argparse.Namespace):
    """Gives malloc and OpenMP their settings (they are read when a process begins, so this process
    begins anew), then imports torch and transformers and quiets them."""
    wanted = {"OMP_NUM_THREADS": str(options.threads), "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    if not options.default_malloc:
        wanted |= KEEP_MEMORY
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if not options.model.exists():
        sys.exit(f"{options.model}: no such file; give a GGUF file or a Hugging Face directory")

    import torch
    import transformers

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return torch


def load(path: pathlib.Path, dtype, what="model"):
    """The model, or its tokenizer, as transformers reads it: a GGUF is widened to `dtype` at load."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": str(path)}
    if path.is_file():
        place = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if what == "tokenizer":
        return AutoTokenizer.from_pretrained(**place)
    note(f"loading {path.name} as {dtype}")
    return AutoModelForCausalLM.from_pretrained(**place, dtype=dtype)


def model_name(name: str) -> str:
    """The catalogue's name for a file or directory: lower case, without folder, extension or
    quantisation (`SmolLM2-135M-Instruct.Q4_1.gguf` is `smollm2-135m-instruct`)."""
    name = re.sub(r"\.gguf$", "", pathlib.PurePath(name).name.lower())
    return re.sub(r"[.-](i?q\d\w*|bf16|f16|f32)$", "", name)


def repeated(run, warm_up: int, repeats: int, limit: float) -> list[float]:
    """What `run` returns, `repeats` times after `warm_up` times that do not count. A way of computing
    that this machine does not have (bfloat16 without its instructions) can be a hundred times slower:
    after `limit` seconds nothing is run any more, and if that comes before the first repeat, the last
    warm-up is the figure."""
    start = time.perf_counter()
    values = []
    for _ in range(warm_up + repeats):
        values.append(run())
        if time.perf_counter() - start > limit:
            break
    return values[warm_up:] or values[-1:]


def spread(values: list[float], unit: str = "tokens_per_second") -> dict:
    return {
        unit: round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "repeats": len(values),
    }


def environment(options: argparse.Namespace) -> dict:
    import peft
    import torch
    import transformers

    return {
        "threads": options.threads,
        "malloc": "default" if options.default_malloc else "keeps its memory",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
    }


def report(**figure) -> None:
    print(json.dumps(figure), flush=True)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
