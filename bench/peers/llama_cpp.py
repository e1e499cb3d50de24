"""Prefill and decoding by llama.cpp: every quantisation asked for, each with its own best settings.

    python bench/peers/llama_cpp.py --llama-cpp DIR --model FILE.gguf > llama_cpp.jsonl

DIR is a llama.cpp checkout with a release build of llama-bench, llama-batched-bench and llama-quantize
in `build/bin` (or any folder that holds the three). The quantisations are made from FILE by
llama-quantize, into a temporary folder or, to keep them, --folder; FILE itself is measured too, as `shipped`.

Measured as `autodidact bench engine` does: prefill of 512 tokens; decoding of 16 tokens after prompts of
64, one stream (llama-bench) and sixteen (llama-batched-bench, each stream with its own prompt). Each
with flash attention off and on. The line of each quantisation is the better of the two; compare.py picks
the best quantisation. Needs no Python package.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

PREFILL, PROMPT, GENERATED, STREAMS = 512, 64, 16, 16
FLASH_ATTENTION = ["off", "on"]


class Build:
    def __init__(self, folder: pathlib.Path, threads: int):
        self.threads = str(threads)
        self.programs = {}
        for name in ("llama-bench", "llama-batched-bench", "llama-quantize"):
            places = [folder / "build" / "bin" / name, folder / "bin" / name, folder / name]
            found = next((p for p in places if p.is_file()), None)
            if found is None:
                sys.exit(f"--llama-cpp: no {name} at {places[0]}; build that target in release mode")
            self.programs[name] = str(found.resolve())

    def run(self, name: str, *arguments: str) -> str:
        command = [self.programs[name], *arguments]
        harness.note(" ".join(command))
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{name} failed:\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}")
        return done.stdout

    def quantise(self, source: pathlib.Path, kind: str, folder: pathlib.Path) -> pathlib.Path:
        target = folder / f"{harness.model_name(source.name)}.{kind.lower()}.gguf"
        if not target.exists():
            half = target.with_suffix(".part")
            # A shipped file is quantised already; speed does not mind the second rounding.
            self.run(
                "llama-quantize", "--allow-requantize", str(source), str(half), kind, self.threads
            )
            half.rename(target)
        return target

    def bench(self, model: pathlib.Path, flash: str, repeats: int, *test: str) -> list[float]:
        common = ["-m", str(model), "-t", self.threads, "-fa", flash, "-r", str(repeats)]
        (result,) = json.loads(self.run("llama-bench", *common, *test, "-o", "json"))
        return result["samples_ts"]

    def batched(self, model: pathlib.Path, flash: str, repeats: int) -> list[float]:
        """The program measures each of the sizes it is given once: given the same one several times,
        it repeats."""
        out = self.run(
            "llama-batched-bench",
            *("-m", str(model), "-t", self.threads, "-fa", flash),
            *("-c", str(STREAMS * 256)),
            *("-npp", str(PROMPT), "-ntg", str(GENERATED)),
            *("-npl", ",".join([str(STREAMS)] * repeats)),
            *("--output-format", "jsonl"),
        )
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return [line["speed_tg"] for line in lines]


def measure(build: Build, model: pathlib.Path, repeats: int):
    """Name, shape and the speeds under each setting of flash attention, figure by figure."""

    def each(run) -> dict[str, list[float]]:
        return {flash: run(flash) for flash in FLASH_ATTENTION}

    prompt = ("-p", str(PREFILL), "-n", "0")
    generate = ("-p", "0", "-n", str(GENERATED), "-d", str(PROMPT))
    yield (
        "prefill",
        f"{PREFILL} tokens, base",
        each(lambda flash: build.bench(model, flash, repeats, *prompt)),
    )
    yield (
        "decode",
        "1 streams, base",
        each(lambda flash: build.bench(model, flash, repeats, *generate)),
    )
    yield (
        "decode",
        f"{STREAMS} streams, base",
        each(lambda flash: build.batched(model, flash, repeats)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--model", type=pathlib.Path, required=True, metavar="FILE")
    parser.add_argument("--quantisations", default="shipped,Q8_0,Q4_0,BF16")
    parser.add_argument("--folder", type=pathlib.Path, help="keep the quantised files here")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not options.model.is_file():
        parser.error(f"--model: {options.model} is no file")
    build = Build(options.llama_cpp, options.threads)

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in options.quantisations.split(","):
            shipped = kind == "shipped"
            model = options.model if shipped else build.quantise(options.model, kind, folder)
            for name, shape, speeds in measure(build, model, options.repeats):
                best = max(speeds, key=lambda flash: harness.spread(speeds[flash])["tokens_per_second"])
                harness.report(
                    peer="llama.cpp",
                    name=name,
                    mode=f"{kind}, flash attention {best}",
                    model=harness.model_name(options.model.name),
                    shape=shape,
                    **harness.spread(speeds[best]),
                    threads=options.threads,
                )


if __name__ == "__main__":
    main()
