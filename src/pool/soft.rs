//! Soft targets: the next-token distributions of a model at every position of a given text.
//!
//! The log-probabilities of a single generated token give the distribution at a position. First a request over the
//! whole text fills the prefix cache. Then one request per position generates one token and computes only its last row.

use super::LocalModel;
use super::local::{stack, stopped};
use crate::learn::ports::model::{Adapter, ModelError, SoftTargets};
use crate::learn::ports::watch::Watch;
use autodidact_engine::sampler::SamplingParams;
use autodidact_engine::scheduler::CompleteRequest;
use autodidact_engine::trainer::Example;

/// The number of tokens with their own probability in a distribution. The remaining probability is the target for all
/// other tokens together. A distribution rescaled to the named tokens would make the student surer than its teacher.
const KEPT: usize = 16;

/// (token, probability); the probabilities sum to at most 1.
type Distribution = Vec<(u32, f32)>;

impl LocalModel {
    /// The examples with soft targets. With a teacher, examples made of the lessons replace the given ones.
    pub(super) fn soft_examples(
        &self,
        examples: &[Example],
        targets: &SoftTargets,
        watch: &dyn Watch,
    ) -> Result<Vec<Example>, ModelError> {
        match targets {
            SoftTargets::PreviousModel { adapter, share } => {
                self.mixed_with_previous(examples, adapter.as_ref(), *share, watch)
            }
            SoftTargets::Teacher { adapter, lessons } => {
                let end = self.engine.files().eos.first().copied();
                let (mut taught, mut prompts) = (Vec::new(), Vec::new());
                for lesson in lessons {
                    let mut answer = self.engine.files().tokenizer.encode(&lesson.answer)?;
                    answer.extend(end);
                    let teacher = self.prompt_tokens(&lesson.teacher)?;
                    let student = self.prompt_tokens(&lesson.student)?;
                    prompts.push((teacher.clone(), answer.clone()));
                    taught.push(Example::completion(&student, &answer));
                }
                let rows = self.distributions(&prompts, adapter.as_ref(), watch)?;
                for (example, rows) in taught.iter_mut().zip(rows) {
                    let prompt = example.tokens.len() - rows.len();
                    example.soft = vec![Vec::new(); prompt];
                    example.soft.extend(rows);
                }
                Ok(taught)
            }
        }
    }

    /// The examples whose target at each position is a mixture: `1 - share` of the token itself, `share` of the old
    /// model's distribution.
    fn mixed_with_previous(
        &self,
        examples: &[Example],
        old: Option<&Adapter>,
        share: f32,
        watch: &dyn Watch,
    ) -> Result<Vec<Example>, ModelError> {
        // The tokens before the first supervised one are the prompt.
        let split = |e: &Example| {
            let first = e.supervised.iter().position(|s| *s).unwrap_or(1);
            (e.tokens[..first].to_vec(), e.tokens[first..].to_vec())
        };
        let prompts: Vec<_> = examples.iter().map(split).collect();
        let rows = self.distributions(&prompts, old, watch)?;
        let mixed = examples.iter().zip(rows).map(|(example, rows)| {
            let first = example.tokens.len() - rows.len();
            let mut soft = vec![Vec::new(); first];
            for (token, old) in example.tokens[first..].iter().zip(rows) {
                let mut mixture: Distribution = vec![(*token, 1.0 - share)];
                for (other, probability) in old {
                    match mixture.iter_mut().find(|(t, _)| *t == other) {
                        Some((_, p)) => *p += share * probability,
                        None => mixture.push((other, share * probability)),
                    }
                }
                soft.push(mixture);
            }
            Example {
                soft,
                ..example.clone()
            }
        });
        Ok(mixed.collect())
    }

    /// For each (prompt, answer), the model's distribution at every token of the answer: `[pair][token]`.
    fn distributions(
        &self,
        prompts: &[(Vec<u32>, Vec<u32>)],
        adapter: Option<&Adapter>,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<Distribution>>, ModelError> {
        let ask = |prompt: Vec<u32>| CompleteRequest {
            prompt,
            adapters: stack(adapter),
            sampling: SamplingParams {
                logprobs: Some(KEPT),
                ignore_eos: true,
                ..SamplingParams::greedy(1)
            },
            n: 1,
            priority: self.priority,
        };
        let upto = |(prompt, answer): &(Vec<u32>, Vec<u32>), i: usize| {
            [prompt.as_slice(), &answer[..i]].concat()
        };
        let run = |requests| {
            self.engine
                .complete_until(requests, &|| watch.stopped())
                .map_err(stopped)
        };
        let whole = prompts.iter().filter(|(_, answer)| !answer.is_empty());
        run(whole.map(|p| ask(upto(p, p.1.len() - 1))).collect())?;
        let mut all = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let places = (0..prompt.1.len()).map(|i| ask(upto(prompt, i)));
            let rows = run(places.collect())?.into_iter().map(|mut completions| {
                let logged = completions.pop().and_then(|mut c| c.logprobs.pop());
                let top = logged.map(|l| l.top).unwrap_or_default();
                top.into_iter()
                    .map(|(t, logprob)| (t, logprob.exp()))
                    .collect()
            });
            all.push(rows.collect());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExecutorKind;
    use crate::learn::ports::model::Model;
    use crate::learn::ports::model::{DistillExample, Prompt, Training, TrainingText, Update};
    use crate::pool::open_engine;
    use autodidact_engine::scheduler::{EngineOptions, Priority};
    use autodidact_engine::{Family, tiny};

    fn model() -> (tempfile::TempDir, LocalModel) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny");
        tiny::write_tiny(&path, Family::Llama, 3).unwrap();
        let engine = open_engine(&path, ExecutorKind::Cpu, Some(1), EngineOptions::default());
        (dir, LocalModel::new(engine.unwrap(), Priority::Ingest))
    }

    fn training(texts: &[&str]) -> Training {
        Training {
            texts: texts
                .iter()
                .map(|t| TrainingText::Text { text: (*t).into() })
                .collect(),
            update: Update {
                rank: 4,
                alpha: 8.0,
                learning_rate: 5e-3,
                epochs: 30,
                batch_size: 1,
                seed: 0,
                upper_layers: None,
                kept_ranks: 0,
                early_stop: None,
                lora_plus: 1.0,
            },
            init: None,
        }
    }

    fn likelihood(model: &LocalModel, adapter: &Adapter, lesson: &DistillExample) -> f32 {
        let items = [(lesson.student.clone(), lesson.answer.clone())];
        model.likelihood(&items, Some(adapter), &|| false).unwrap()[0]
    }

    #[test]
    fn a_distribution_is_what_the_model_says_at_each_place() {
        let (_dir, model) = model();
        let prompt: Vec<u32> = (40..70).collect();
        let answer = vec![71, 72, 73, 74];
        let prompts = [(prompt.clone(), answer.clone()), (prompt.clone(), vec![])];
        let rows = model.distributions(&prompts, None, &|| false).unwrap();
        assert_eq!((rows[0].len(), rows[1].len()), (4, 0));
        // Greedy decoding from the same position gives the likeliest token.
        for (i, place) in rows[0].iter().enumerate() {
            assert_eq!(place.len(), KEPT);
            let sum: f32 = place.iter().map(|(_, p)| p).sum();
            assert!(sum > 0.0 && sum < 1.0, "of {KEPT} tokens: {sum}");
            let request = CompleteRequest {
                prompt: [&prompt[..], &answer[..i]].concat(),
                adapters: vec![],
                sampling: SamplingParams::greedy(1),
                n: 1,
                priority: Priority::Ingest,
            };
            let said = model
                .engine
                .complete_until(vec![request], &|| false)
                .unwrap();
            assert_eq!(said[0][0].tokens[0], place[0].0, "place {i}");
        }
    }

    #[test]
    fn near_the_old_model_less_is_learned_than_away_from_it() {
        let (_dir, model) = model();
        let text = "The ferry is steered by Ada Finch.";
        let away = |share: f32| {
            let targets = SoftTargets::PreviousModel {
                adapter: None,
                share,
            };
            let trained = model.train_on_soft_targets(
                training(&[text]),
                &targets,
                &mut |_, _, _| true,
                &|| false,
            );
            let lesson = DistillExample {
                student: Prompt::user("The ferry"),
                teacher: Prompt::user(""),
                answer: text.into(),
            };
            likelihood(&model, &trained.unwrap().adapter, &lesson)
        };
        let (free, held) = (away(0.0), away(0.9));
        assert!(free > held + 0.1, "free {free}, held {held}");
    }

    #[test]
    fn what_is_held_to_the_old_model_stays_as_unsure() {
        let (_dir, model) = model();
        let text = "The ferry is steered by Ada Finch.";
        let tokens = model.engine.files().tokenizer.encode(text).unwrap();
        let prompts = [(tokens[..1].to_vec(), tokens[1..].to_vec())];
        // The probability of the likeliest tokens together, as a mean over the positions.
        let sure = |adapter: Option<&Adapter>| {
            let rows = model.distributions(&prompts, adapter, &|| false).unwrap();
            let sums = rows[0]
                .iter()
                .map(|place| place.iter().map(|(_, p)| p).sum::<f32>());
            sums.sum::<f32>() / rows[0].len() as f32
        };
        let targets = SoftTargets::PreviousModel {
            adapter: None,
            share: 0.95,
        };
        let trained =
            model
                .train_on_soft_targets(training(&[text]), &targets, &mut |_, _, _| true, &|| false);
        let (before, after) = (sure(None), sure(Some(&trained.unwrap().adapter)));
        assert!(before < 0.8 && after < before + 0.1, "{before} {after}");
    }

    #[test]
    fn a_student_comes_nearer_to_its_teacher() {
        let (_dir, model) = model();
        let lesson = DistillExample {
            student: Prompt::user("Who steers?"),
            teacher: Prompt::user("Ada Finch steers the ferry. Who steers?"),
            answer: "the boat".into(),
        };
        let targets = SoftTargets::Teacher {
            adapter: None,
            lessons: vec![lesson],
        };
        let trained = model
            .train_on_soft_targets(
                training(&["unused"]),
                &targets,
                &mut |_, _, _| true,
                &|| false,
            )
            .unwrap();
        // The loss against a distribution cannot fall to 0, but it falls.
        let (first, last) = (trained.losses[0], *trained.losses.last().unwrap());
        assert!(last < first, "{:?}", trained.losses);
    }
}
