//! The scheduler over a scripted executor: company, order, limits and failures.

use crate::scripted::{Scripted, files};
use autodidact_engine::{
    CompleteRequest, Completion, Engine, EngineOptions, Error, Example, FinishReason,
    GenerateEvent, GenerateRequest, Lora, LoraConfig, Priority, SamplingParams, ScoreRequest,
    TrainConfig, TrainRequest,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};

fn engine(executor: Scripted, options: EngineOptions) -> Engine {
    Engine::start(files(), Box::new(executor), options)
}

fn default_engine() -> Engine {
    engine(Scripted::new(), EngineOptions::default())
}

fn request(prompt: &[u32], sampling: SamplingParams) -> CompleteRequest {
    CompleteRequest {
        prompt: prompt.to_vec(),
        adapters: Vec::new(),
        sampling,
        n: 1,
        priority: Priority::Interactive,
    }
}

fn greedy(prompt: &[u32], max_tokens: usize) -> CompleteRequest {
    request(prompt, SamplingParams::greedy(max_tokens))
}

fn adapter(seed: u64) -> Arc<Lora> {
    let mut lora = Lora::random(LoraConfig::all_linear(2, 8.0), &files().config, seed);
    let pair = lora.layers[0][0].as_mut().unwrap();
    pair.b.iter_mut().for_each(|b| *b *= 8.0); // strong enough to change words
    Arc::new(lora)
}

fn one(engine: &Engine, request: CompleteRequest) -> Completion {
    engine.complete(vec![request]).unwrap().remove(0).remove(0)
}

/// Sends a request whose events come through a channel.
fn listen(engine: &Engine, request: CompleteRequest) -> Receiver<GenerateEvent> {
    let (sender, events) = channel();
    let sink = Box::new(move |event| sender.send(event).is_ok());
    engine.generate(with_sink(request, sink)).unwrap();
    events
}

fn with_sink(
    request: CompleteRequest,
    sink: Box<dyn FnMut(GenerateEvent) -> bool + Send>,
) -> GenerateRequest {
    GenerateRequest {
        prompt: request.prompt,
        adapters: request.adapters,
        sampling: request.sampling,
        n: request.n,
        priority: request.priority,
        sink,
    }
}

#[test]
fn company_changes_no_answer() {
    let adapters = [adapter(1), adapter(2)];
    let requests: Vec<CompleteRequest> = (0..12u32)
        .map(|i| {
            let prompt: Vec<u32> = (0..1 + i * 3).map(|j| 3 + (i + j * j) % 50).collect();
            let mut request = greedy(&prompt, 3 + i as usize);
            request.adapters = match i % 3 {
                0 => vec![],
                1 => vec![adapters[0].clone()],
                _ => adapters.to_vec(),
            };
            request.priority = [Priority::Interactive, Priority::Outer][i as usize % 2];
            request
        })
        .collect();
    let executor = Scripted::new();
    let longest = executor.longest.clone();
    let options = EngineOptions {
        max_batch_tokens: 24,
        max_sequences: 5,
        background_sequences: 5,
        ..EngineOptions::default()
    };
    let together = engine(executor, options)
        .complete(requests.clone())
        .unwrap();
    assert!(
        longest.load(Ordering::SeqCst) <= 26,
        "5 + 5 places and 16 more"
    );
    let alone = default_engine();
    for (request, together) in requests.into_iter().zip(together) {
        assert_eq!(one(&alone, request), together[0]);
    }
    let base = one(&alone, greedy(&[5, 6], 8));
    let mut adapted = greedy(&[5, 6], 8);
    adapted.adapters = vec![adapters[0].clone()];
    assert_ne!(one(&alone, adapted).tokens, base.tokens);
}

#[test]
fn samples_are_drawn_with_seed_plus_index() {
    let engine = default_engine();
    let sampled = |seed, n| {
        let sampling = SamplingParams {
            seed,
            max_tokens: 9,
            ..SamplingParams::default()
        };
        let request = CompleteRequest {
            n,
            ..request(&[7, 8, 9], sampling)
        };
        engine.complete(vec![request]).unwrap().remove(0)
    };
    let three = sampled(11, 3);
    for (i, sample) in three.iter().enumerate() {
        assert_eq!(sample, &sampled(11 + i as u64, 1)[0]);
    }
    assert_ne!(three[0].tokens, three[1].tokens);
}

#[test]
fn stop_strings_end_the_text_before_them() {
    let engine = engine(Scripted::successor(), EngineOptions::default());
    let a = files().tokenizer.encode("a").unwrap();
    let text = |stop: &str| {
        let sampling = SamplingParams {
            stop: vec![stop.into()],
            ..SamplingParams::greedy(8)
        };
        let completion = one(&engine, request(&a, sampling));
        (completion.text, completion.tokens.len(), completion.reason)
    };
    assert_eq!(text("efg"), ("bcd".into(), 6, FinishReason::Stop));
    // What looked like a stop string and was none is given out after all.
    assert_eq!(text("hijk"), ("bcdefghi".into(), 8, FinishReason::Length));
    assert_eq!(text("ex"), ("bcdefghi".into(), 8, FinishReason::Length));
}

#[test]
fn the_end_token_ends_unless_ignored() {
    let engine = engine(Scripted::successor(), EngineOptions::default());
    let files = files();
    let eos = *files.eos.iter().min().unwrap();
    let before = [eos - 1];
    let completion = one(&engine, greedy(&before, 4));
    assert_eq!(completion.tokens, [eos]);
    assert_eq!(
        (completion.text.as_str(), completion.reason),
        ("", FinishReason::Stop)
    );
    let sampling = SamplingParams {
        ignore_eos: true,
        logprobs: Some(2),
        ..SamplingParams::greedy(2)
    };
    let completion = one(&engine, request(&before, sampling));
    assert_eq!(completion.tokens.len(), 2);
    assert_eq!(completion.logprobs[0].top[0].0, eos);
    assert!(completion.logprobs[0].logprob > -1e-3);
}

#[test]
fn a_client_that_left_frees_its_slots() {
    let executor = Scripted::new();
    let live = executor.live.clone();
    let engine = engine(executor, EngineOptions::default());
    let (sender, seen) = channel();
    let sink = Box::new(move |event| {
        sender.send(event).unwrap();
        false
    });
    let request = CompleteRequest {
        n: 3,
        ..greedy(&[4, 5], 1000)
    };
    engine.generate(with_sink(request, sink)).unwrap();
    let events: Vec<GenerateEvent> = seen.iter().collect();
    let cancelled = |e: &&GenerateEvent| {
        matches!(
            e,
            GenerateEvent::Finished {
                reason: FinishReason::Cancelled,
                ..
            }
        )
    };
    assert_eq!(
        (events.len(), events.iter().filter(cancelled).count()),
        (4, 3)
    );
    one(&engine, greedy(&[1], 1));
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn limits_are_told_at_once() {
    let options = EngineOptions {
        window: Some(16),
        ..EngineOptions::default()
    };
    let engine = engine(Scripted::new(), options);
    let error = engine.complete(vec![greedy(&[1; 16], 1)]).unwrap_err();
    assert!(matches!(
        error,
        Error::TooLong {
            asked: 17,
            window: 16
        }
    ));
    let completion = one(&engine, greedy(&[1; 12], 100));
    assert_eq!(
        (completion.tokens.len(), completion.reason),
        (4, FinishReason::Length)
    );
    for wrong in [
        greedy(&[], 1),
        greedy(&[1_000_000], 1),
        greedy(&[1], 0),
        CompleteRequest {
            n: 0,
            ..greedy(&[1], 1)
        },
    ] {
        assert!(matches!(engine.complete(vec![wrong]), Err(Error::Input(_))));
    }
    let mut misfit = greedy(&[1], 1);
    misfit.adapters = vec![Arc::new(Lora {
        layers: Vec::new(),
        extras: None,
        ..(*adapter(1)).clone()
    })];
    assert!(matches!(
        engine.complete(vec![misfit]),
        Err(Error::Adapter(_))
    ));
}

#[test]
fn a_full_queue_refuses_and_background_work_keeps_nobody_out() {
    let mut executor = Scripted::new();
    let (entered, inside) = channel();
    let (leave, leaving) = channel();
    executor.gate = Some((entered, leaving));
    let options = EngineOptions {
        max_sequences: 1,
        background_sequences: 1,
        max_waiting: 1,
        ..EngineOptions::default()
    };
    let engine = engine(executor, options);
    let mut background = greedy(&[9], 5);
    background.priority = Priority::Outer;
    let outer = listen(&engine, background);
    inside.recv().unwrap();
    let first = listen(&engine, greedy(&[1], 2));
    leave.send(()).unwrap();
    inside.recv().unwrap(); // the first request has its place beside the background's
    let second = listen(&engine, greedy(&[2], 2));
    let full = engine.generate(with_sink(greedy(&[3], 2), Box::new(|_| true)));
    let Err(Error::Full {
        waiting: 1,
        retry_after_seconds,
    }) = full
    else {
        panic!("{full:?}");
    };
    assert!(retry_after_seconds >= 1);
    drop(leave);
    for events in [first, second, outer] {
        let last = events.iter().last().unwrap();
        assert!(matches!(last, GenerateEvent::Finished { .. }), "{last:?}");
    }
}

#[test]
fn a_failing_executor_fails_its_batch_only() {
    for (poison, said) in [(40, "the batch is poisoned"), (41, "panicked: poisoned")] {
        let mut executor = Scripted::new();
        executor.poison = Some(poison);
        let live = executor.live.clone();
        let engine = engine(executor, EngineOptions::default());
        let failed = listen(&engine, greedy(&[poison], 3)).iter().last();
        let Some(GenerateEvent::Failed { error }) = failed else {
            panic!("{failed:?}");
        };
        assert!(error.contains(said), "{error}");
        let score = ScoreRequest {
            prompt: vec![1, poison],
            answer: vec![2],
            adapters: vec![],
        };
        let error = engine.score(vec![score], Priority::Ingest).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        let training = vec![training(vec![1, poison, 2], 1)];
        let error = engine.train(training, Priority::Ingest, Box::new(|_| true));
        assert!(error.unwrap_err().to_string().contains(said));
        assert_eq!(one(&engine, greedy(&[1], 1)).tokens.len(), 1);
        assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}

fn training(tokens: Vec<u32>, seed: u64) -> TrainRequest {
    let example = |i: u32| Example::all(tokens.iter().map(|t| t + i).collect());
    TrainRequest {
        config: TrainConfig {
            lora: LoraConfig::all_linear(2, 4.0),
            epochs: 6,
            batch_size: 3,
            seed,
            ..TrainConfig::default()
        },
        examples: (0..5).map(example).collect(),
        init: None,
    }
}

#[test]
fn training_and_generation_share_without_changing_each_other() {
    let requests = || vec![training(vec![3, 4, 5, 6], 1), training(vec![20, 21, 22], 2)];
    let prompts = || -> Vec<_> { (0..6).map(|i| greedy(&[30 + i], 40)).collect() };
    let quiet = default_engine();
    let (sender, reports) = channel();
    let progress = Box::new(move |r: &[autodidact_engine::StepReport]| {
        r.iter().all(|r| sender.send(*r).is_ok())
    });
    let trained = quiet.train(requests(), Priority::Outer, progress).unwrap();
    let completions = quiet.complete(prompts()).unwrap();
    let steps: Vec<_> = reports.iter().map(|r| (r.candidate, r.step)).collect();
    let want: Vec<_> = (0..12).flat_map(|s| [(0, s), (1, s)]).collect();
    assert_eq!(steps, want);

    let options = EngineOptions {
        train_slice_tokens: 5,
        ..EngineOptions::default()
    };
    let busy = engine(Scripted::new(), options);
    let (both_trained, both_completed) = std::thread::scope(|scope| {
        let job = scope.spawn(|| busy.train(requests(), Priority::Outer, Box::new(|_| true)));
        let completed = busy.complete(prompts()).unwrap();
        (job.join().unwrap().unwrap(), completed)
    });
    assert_eq!(both_completed, completions);
    for (a, b) in both_trained.iter().zip(&trained) {
        assert_eq!(a.losses.len(), 12);
        let apart = a.losses.iter().zip(&b.losses).map(|(x, y)| (x - y).abs());
        assert!(apart.fold(0.0, f32::max) < 1e-5);
    }
    assert!(trained[0].losses[11] < trained[0].losses[0]);
}

#[test]
fn training_can_be_cancelled() {
    let engine = default_engine();
    let mut steps = 0;
    let progress = Box::new(move |_: &[_]| {
        steps += 1;
        steps < 2
    });
    let cancelled = engine.train(vec![training(vec![1, 2], 1)], Priority::Ingest, progress);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(one(&engine, greedy(&[1], 1)).tokens.len(), 1);
}

#[test]
fn whoever_stops_waiting_is_answered_at_once_and_his_work_dropped() {
    let (arrived, inside) = channel();
    let (leave, gate) = channel();
    let mut executor = Scripted::new();
    executor.gate = Some((arrived, gate));
    let live = executor.live.clone();
    let engine = engine(executor, EngineOptions::default());
    // The engine is held inside the first forward pass until `leave` is dropped.
    let cancelled = engine.complete_until(vec![greedy(&[4, 5], 1000)], &|| true);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    inside.recv().unwrap();
    let score = ScoreRequest {
        prompt: vec![1, 2],
        answer: vec![3],
        adapters: vec![],
    };
    let cancelled = engine.score_until(vec![score], Priority::Ingest, &|| true);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    drop(leave);
    assert_eq!(one(&engine, greedy(&[1], 1)).tokens.len(), 1);
    // This turn's statistics are out once a further request was heard.
    one(&engine, greedy(&[1], 1));
    let stats = engine.stats();
    assert_eq!((stats.scoring, stats.scored_tokens), (0, 0));
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn scores_agree_with_logprobs() {
    let engine = default_engine();
    let sampling = SamplingParams {
        logprobs: Some(0),
        ..SamplingParams::greedy(5)
    };
    let completion = one(&engine, request(&[6, 7], sampling));
    let score = |prompt: &[u32], answer: &[u32]| ScoreRequest {
        prompt: prompt.to_vec(),
        answer: answer.to_vec(),
        adapters: vec![],
    };
    let requests = vec![
        score(&[1], &[]),
        score(&[6, 7], &completion.tokens),
        score(&[6, 7], &[completion.tokens[0], 1]),
    ];
    let scores = engine.score(requests, Priority::Ingest).unwrap();
    assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), [0, 5, 2]);
    for (score, logprob) in scores[1].iter().zip(&completion.logprobs) {
        assert!(score.is_argmax && (score.logprob - logprob.logprob).abs() < 1e-5);
    }
    assert!(!scores[2][1].is_argmax);
    let nothing = engine.score(vec![], Priority::Ingest).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn an_empty_list_is_answered_without_the_executor() {
    let engine = default_engine();
    let none = engine.score(Vec::new(), Priority::Interactive).unwrap();
    assert_eq!(none, Vec::<Vec<_>>::new());
    let silent = ScoreRequest {
        prompt: vec![5, 6],
        answer: Vec::new(),
        adapters: Vec::new(),
    };
    let scores = engine.score(vec![silent], Priority::Interactive).unwrap();
    assert_eq!(scores, [Vec::new()]);
}

#[test]
fn requests_that_do_not_fit_together_run_one_after_the_other() {
    let mut executor = Scripted::new();
    let (entered, inside) = channel();
    let (leave, leaving) = channel();
    executor.gate = Some((entered, leaving));
    let peak = executor.peak.clone();
    let options = EngineOptions {
        kv_budget_tokens: 60,
        ..EngineOptions::default()
    };
    let engine = engine(executor, options);
    let ignoring = |first: u32| {
        let sampling = SamplingParams {
            ignore_eos: true,
            ..SamplingParams::greedy(20)
        };
        let prompt: Vec<u32> = (first..first + 20).collect();
        request(&prompt, sampling)
    };
    let first = listen(&engine, ignoring(3));
    inside.recv().unwrap();
    // 40 + 40 tokens do not fit; nor does the small one get what the second waits for.
    let second = listen(&engine, ignoring(30));
    let mut small = greedy(&[9], 3);
    small.priority = Priority::Outer;
    let third = listen(&engine, small);
    leave.send(()).unwrap();
    inside.recv().unwrap();
    leave.send(()).unwrap();
    inside.recv().unwrap(); // a turn that saw all three has been published
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting), (1, 2));
    drop(leave);
    for events in [first, second, third] {
        let last = events.iter().last().unwrap();
        assert!(matches!(last, GenerateEvent::Finished { .. }), "{last:?}");
    }
    // What was kept for later prompts made room.
    assert!(peak.load(Ordering::SeqCst) <= 60);

    let mut large = ignoring(3);
    large.n = 2;
    let error = engine.complete(vec![large]).unwrap_err().to_string();
    assert!(error.contains("80 tokens"), "{error}");
    assert!(error.contains("memory for 60"), "{error}");
}
