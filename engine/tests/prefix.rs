//! The prefix cache: what is computed, what is kept, and that no answer changes.

use crate::scripted::{Scripted, files};
use autodidact_engine::{
    CompleteRequest, Completion, Cpu, CpuOptions, Engine, EngineOptions, Family, GenerateEvent,
    GenerateRequest, Lora, LoraConfig, ModelFiles, Precision, Priority, SamplingParams,
    ScoreRequest, tiny,
};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};

fn request(prompt: Vec<u32>, adapters: &[Arc<Lora>], max_tokens: usize) -> CompleteRequest {
    CompleteRequest {
        prompt,
        adapters: adapters.to_vec(),
        sampling: SamplingParams {
            logprobs: Some(3),
            ignore_eos: true,
            ..SamplingParams::greedy(max_tokens)
        },
        n: 1,
        priority: Priority::Interactive,
    }
}

fn one(engine: &Engine, request: CompleteRequest) -> Completion {
    engine.complete(vec![request]).unwrap().remove(0).remove(0)
}

/// `shared` tokens that depend on `topic`, then `own` ones that depend on `i`, all of them not.
fn prompt(topic: u32, shared: u32, i: u32, own: u32) -> Vec<u32> {
    let head = (0..shared).map(|j| (topic * 41 + j * j * 3 + j) % 200);
    head.chain((0..own).map(|j| (i + j * 13) % 200)).collect()
}

fn adapter(seed: u64) -> Arc<Lora> {
    let config = &files().config;
    Arc::new(Lora::random(LoraConfig::all_linear(4, 8.0), config, seed))
}

fn scripted(executor: Scripted, options: EngineOptions) -> Engine {
    Engine::start(files(), Box::new(executor), options)
}

fn cached(engine: &Engine) -> u64 {
    // Statistics come at the end of a turn: a further request has seen that of those before.
    one(engine, request(vec![1], &[], 1));
    engine.stats().cached_tokens
}

/// The fused executor on the tiny model.
fn fused(cache_tokens: usize, max_batch_tokens: usize) -> Engine {
    static FILES: OnceLock<Arc<ModelFiles>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        tiny::write_tiny(dir.path(), Family::Llama, 5).unwrap();
        Arc::new(ModelFiles::open(dir.path()).unwrap())
    });
    let options = CpuOptions {
        threads: 2,
        precision: Precision::F32,
    };
    let executor = Cpu::new(files, options).unwrap();
    let options = EngineOptions {
        cache_tokens,
        max_batch_tokens,
        max_sequences: 7,
        background_sequences: 7,
        ..EngineOptions::default()
    };
    Engine::start(files.clone(), Box::new(executor), options)
}

/// Two topics under every stack, so that a mistaken stack would be a tempting one.
fn stacks() -> Vec<Vec<Arc<Lora>>> {
    let (a, b) = (adapter(1), adapter(2));
    vec![
        vec![],
        vec![a.clone()],
        vec![b.clone()],
        vec![a.clone(), b.clone()],
    ]
}

#[test]
fn completions_are_those_without_the_cache() {
    let stacks = stacks();
    let requests: Vec<CompleteRequest> = (0..24u32)
        .map(|i| {
            let prompt = prompt(i % 2, 60, i / 8, 5 + i % 7);
            CompleteRequest {
                n: 1 + i as usize % 2,
                ..request(prompt, &stacks[i as usize % 4], 10)
            }
        })
        .collect();
    let without = fused(0, 512);
    let want = without.complete(requests.clone()).unwrap();
    assert_eq!(cached(&without), 0);
    for max_batch_tokens in [24, 512] {
        let with = fused(4000, max_batch_tokens);
        for round in 1..3 {
            let got = with.complete(requests.clone()).unwrap();
            for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
                same(got, want);
            }
            assert!(cached(&with) >= round * 16 * 60, "{:?}", with.stats());
        }
    }
    // The stacks do answer differently.
    let answers = [0, 1, 2, 3].map(|i| {
        let prompt = prompt(0, 60, 0, 5);
        one(&without, request(prompt, &stacks[i], 1)).logprobs[0].logprob
    });
    for i in 0..4 {
        assert!(answers[..i].iter().all(|a| (a - answers[i]).abs() > 1e-3));
    }
}

fn same(got: &Completion, want: &Completion) {
    assert_eq!(got.tokens, want.tokens);
    assert_eq!(got.logprobs.len(), want.logprobs.len());
    for (got, want) in got.logprobs.iter().zip(&want.logprobs) {
        let apart = (got.logprob - want.logprob).abs();
        assert!(apart < 1e-5, "{} {}", got.logprob, want.logprob);
    }
}

/// Three hundred at once, in the memory that is stated; what does not fit beside the others waits its turn.
#[test]
fn hundreds_generate_at_once_within_the_memory() {
    let requests: Vec<CompleteRequest> = (0..300u32)
        .map(|i| request(prompt(i % 2, 60, i / 8, 1 + i % 7), &[], 100))
        .collect();
    let run = |max_sequences, kv_budget_tokens| {
        // A pass is longer only where more than these generate.
        let options = EngineOptions {
            max_batch_tokens: 128,
            max_sequences,
            kv_budget_tokens,
            ..EngineOptions::default()
        };
        let executor = Scripted::new();
        let longest = executor.longest.clone();
        let answers = scripted(executor, options).complete(requests.clone());
        (answers.unwrap(), longest.load(Ordering::SeqCst))
    };
    let (want, _) = run(1, 65_536);
    for (kv_budget_tokens, least, most) in [(65_536, 200, 384), (4_000, 1, 128)] {
        let (got, longest) = run(256, kv_budget_tokens);
        assert!((least..=most).contains(&longest), "{longest} rows a pass");
        for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
            same(got, want);
        }
    }
}

#[test]
fn scores_are_those_without_sharing() {
    let stacks = stacks();
    // Passages, questions on them, and several answers to each question.
    let requests: Vec<ScoreRequest> = (0..48u32)
        .map(|i| ScoreRequest {
            prompt: prompt(i % 3, 50, i / 12, 6),
            answer: (0..i % 5).map(|j| (i * 3 + j * 11) % 200).collect(),
            adapters: stacks[i as usize % 4].clone(),
        })
        .collect();
    let without = fused(0, 512);
    let want = without.score(requests.clone(), Priority::Ingest).unwrap();
    for max_batch_tokens in [24, 512] {
        let with = fused(4000, max_batch_tokens);
        let got = with.score(requests.clone(), Priority::Ingest).unwrap();
        for ((got, want), request) in got.iter().zip(&want).zip(&requests) {
            assert_eq!((got.len(), want.len()), (request.answer.len(), got.len()));
            for (got, want) in got.iter().zip(want) {
                assert!((got.logprob - want.logprob).abs() < 1e-5);
                assert_eq!(got.is_argmax, want.is_argmax);
            }
        }
        assert!(cached(&with) > 0 && cached(&without) == 0);
        let (shared, whole) = (with.stats(), without.stats());
        assert!(shared.scored_tokens * 2 < whole.scored_tokens);
        assert_eq!(
            shared.scored_tokens + shared.cached_tokens,
            whole.scored_tokens
        );
        assert_eq!(shared.kv_tokens, 0);
    }
}

#[test]
fn ninety_questions_read_their_passage_once() {
    let executor = Scripted::new();
    let live = executor.live.clone();
    let engine = scripted(executor, EngineOptions::default());
    let requests = (0..90).map(|i| ScoreRequest {
        prompt: prompt(0, 200, i, 10),
        answer: vec![7, i],
        adapters: vec![],
    });
    engine.score(requests.collect(), Priority::Ingest).unwrap();
    assert_eq!(cached(&engine), 89 * 200);
    assert_eq!(engine.stats().scored_tokens, 200 + 90 * 11);
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn what_comes_together_is_computed_once() {
    let engine = scripted(Scripted::new(), EngineOptions::default());
    let requests = (0..9).map(|i| request(prompt(0, 100, i, 5), &[], 3));
    engine.complete(requests.collect()).unwrap();
    assert_eq!(cached(&engine), 8 * 100);
    // One more where the first had its prompt to itself for a turn: which, is the threads' affair.
    let computed = engine.stats().prompt_tokens;
    assert!(
        (100 + 9 * 5..=100 + 9 * 5 + 1).contains(&computed),
        "{computed}"
    );
}

/// Sends a request whose events come through a channel.
fn listen(engine: &Engine, request: CompleteRequest) -> Receiver<GenerateEvent> {
    let (sender, events) = channel();
    let request = GenerateRequest {
        prompt: request.prompt,
        adapters: request.adapters,
        sampling: request.sampling,
        n: request.n,
        priority: request.priority,
        sink: Box::new(move |event| sender.send(event).is_ok()),
    };
    engine.generate(request).unwrap();
    events
}

#[test]
fn only_the_less_urgent_wait_for_a_prefill() {
    for (second, spared) in [(Priority::Interactive, 16), (Priority::Outer, 48)] {
        let mut executor = Scripted::new();
        let (entered, inside) = channel();
        let (leave, leaving) = channel();
        executor.gate = Some((entered, leaving));
        let options = EngineOptions {
            max_batch_tokens: 16,
            ..EngineOptions::default()
        };
        // Nor does anybody wait for fewer than 32 tokens: the last 16 are not worth it.
        let engine = scripted(executor, options);
        let ask = |i, priority| CompleteRequest {
            priority,
            ..request(prompt(0, 64, i, 4), &[], 2)
        };
        let first = listen(&engine, ask(0, Priority::Ingest));
        inside.recv().unwrap(); // 16 tokens of the first are being computed
        let second = listen(&engine, ask(1, second));
        drop(leave);
        for events in [first, second] {
            let last = events.iter().last().unwrap();
            assert!(matches!(last, GenerateEvent::Finished { .. }), "{last:?}");
        }
        assert_eq!(cached(&engine), spared);
    }
}

#[test]
fn the_next_turn_of_a_chat_goes_on_from_the_last() {
    let engine = scripted(Scripted::new(), EngineOptions::default());
    let mut history = prompt(0, 20, 0, 0);
    history.extend(one(&engine, request(history.clone(), &[], 6)).tokens);
    history.extend([9, 8, 7]);
    one(&engine, request(history.clone(), &[], 4));
    // The last token generated was never read.
    assert_eq!(cached(&engine), 25);
    assert_eq!(engine.stats().prefix_tokens, 29 + 3, "one entry, not two");
    // Asked again: all but the token whose logits are wanted.
    one(&engine, request(history, &[], 4));
    assert_eq!(cached(&engine), 25 + 28);
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let executor = Scripted::new();
    let live = executor.live.clone();
    let options = EngineOptions {
        cache_tokens: 100,
        ..EngineOptions::default()
    };
    let engine = scripted(executor, options);
    let ask = |topic| {
        let before = cached(&engine);
        one(&engine, request(prompt(topic, 40, 0, 0), &[], 1));
        cached(&engine) - before
    };
    let spared = [1, 2, 1, 3, 1, 2].map(ask);
    assert_eq!(spared, [0, 0, 39, 0, 39, 0]);
    let stats = engine.stats();
    assert_eq!((stats.kv_tokens, stats.prefix_tokens), (80, 80));
    assert_eq!(live.load(Ordering::SeqCst), 2);
    // What does not fit is not kept, and drives nothing out.
    one(&engine, request(prompt(4, 101, 0, 0), &[], 1));
    assert_eq!(ask(2), 39);
}

#[test]
fn a_retired_adapter_goes_with_its_last_request() {
    let executor = Scripted::new();
    let live = executor.live.clone();
    let engine = scripted(executor, EngineOptions::default());
    let (kept, retired) = (adapter(1), adapter(2));
    let ask = |adapters: &[Arc<Lora>]| {
        one(&engine, request(prompt(0, 40, 0, 0), adapters, 2));
    };
    ask(std::slice::from_ref(&kept));
    ask(std::slice::from_ref(&retired));
    ask(&[kept.clone(), retired.clone()]);
    assert_eq!(cached(&engine), 0);
    assert_eq!(live.load(Ordering::SeqCst), 3);
    let gone = Arc::downgrade(&retired);
    drop(retired);
    assert!(gone.upgrade().is_none());
    cached(&engine); // a turn
    cached(&engine); // has ended
    assert_eq!(live.load(Ordering::SeqCst), 1);
    assert_eq!(engine.stats().kv_tokens, 41);
    ask(&[kept]);
    assert_eq!(cached(&engine), 39);
}

#[test]
fn a_failed_prefill_leaves_those_who_waited_for_it() {
    let mut executor = Scripted::new();
    executor.poison = Some(240);
    let (entered, inside) = channel();
    let (leave, leaving) = channel();
    executor.gate = Some((entered, leaving));
    let live = executor.live.clone();
    let engine = scripted(executor, EngineOptions::default());
    let ending = |last| [prompt(0, 100, 0, 0), vec![last]].concat();
    let other = listen(&engine, request(vec![1], &[], 1));
    inside.recv().unwrap(); // both of the following are admitted in the next turn
    let fails = listen(&engine, request(ending(240), &[], 2));
    let waits = listen(&engine, request(ending(241), &[], 2));
    drop(leave);
    let last = fails.iter().last().unwrap();
    assert!(matches!(last, GenerateEvent::Failed { .. }), "{last:?}");
    for events in [other, waits] {
        let last = events.iter().last().unwrap();
        assert!(matches!(last, GenerateEvent::Finished { .. }), "{last:?}");
    }
    let score = |last| ScoreRequest {
        prompt: ending(last),
        answer: vec![1],
        adapters: vec![],
    };
    let scores = engine.score(vec![score(241), score(240)], Priority::Ingest);
    assert!(scores.is_err());
    assert_eq!(cached(&engine), 100, "of the scores' prefix");
    assert_eq!(live.load(Ordering::SeqCst), 1, "what the second left");
}
