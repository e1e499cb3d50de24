//! The adapters that answer questions: one adapter for all, or for each question the adapter that a router chooses.

use super::responders::{Responder, Responders};
use super::router::Router;
use crate::learn::grading::Grading;
use crate::learn::knowledge::closed_book::{Answer, answer_in, right};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{Adapter, Prompt};
use std::collections::BTreeMap;

/// A question to ask. A router reads the question's wording; the model reads the prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub question: String,
    pub prompt: Prompt,
    pub gold: String,
}

/// Loads the adapter of a version of the alias.
pub type Load<'a> = dyn Fn(u64) -> Result<Adapter, Interrupted> + 'a;

/// An alias that answers with one adapter, or with several behind a router.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Answerer<'a> {
    /// One adapter answers every question; `None`: the base.
    One(Option<&'a Adapter>),
    Routed(Routed<'a>),
}

/// Several adapters under one alias.
pub struct Routed<'a> {
    pub router: Router,
    /// The responder for each document of the router, and for questions about none.
    pub responders: Responders,
    /// The adapter that [`Responder::New`] stands for.
    pub new: Option<&'a Adapter>,
    pub load: &'a Load<'a>,
}

impl Answerer<'_> {
    /// Asks each question of its adapter and grades the answers, in the order of `items`. `longest`: tokens of an
    /// answer at most.
    pub fn answer(
        &self,
        model: Interruptible<'_>,
        items: &[Item],
        grading: Grading<'_>,
        longest: usize,
    ) -> Result<Vec<Answer>, Interrupted> {
        self.each(items, |adapter, asked| {
            Ok(answer_in(model, adapter, asked, grading, longest)?)
        })
    }

    /// Whether each question is answered right, without the answers' log-likelihoods, in the order of `items`.
    pub fn right(
        &self,
        model: Interruptible<'_>,
        items: &[Item],
        grading: Grading<'_>,
        longest: usize,
    ) -> Result<Vec<bool>, Interrupted> {
        self.each(items, |adapter, asked| {
            Ok(right(model, adapter, asked, grading, longest)?)
        })
    }

    /// Calls `ask` once for each adapter with its questions. The answers are in the order of `items`.
    fn each<T: Clone>(
        &self,
        items: &[Item],
        ask: impl Fn(Option<&Adapter>, &[(Prompt, String)]) -> Result<Vec<T>, Interrupted>,
    ) -> Result<Vec<T>, Interrupted> {
        let both = |i: &Item| (i.prompt.clone(), i.gold.clone());
        let routed = match self {
            Answerer::One(adapter) => {
                return ask(*adapter, &items.iter().map(both).collect::<Vec<_>>());
            }
            Answerer::Routed(routed) => routed,
        };
        // Adapters are asked one after another, so that only one need be in memory.
        let mut groups: BTreeMap<Responder, Vec<usize>> = BTreeMap::new();
        for (i, item) in items.iter().enumerate() {
            groups
                .entry(routed.choose(&item.question))
                .or_default()
                .push(i);
        }
        let mut answers: Vec<Option<T>> = vec![None; items.len()];
        for (choice, group) in groups {
            let loaded = match choice {
                Responder::Version(number) => Some((routed.load)(number)?),
                Responder::Base | Responder::New => None,
            };
            let adapter = match choice {
                Responder::New => routed.new,
                _ => loaded.as_ref(),
            };
            let asked: Vec<_> = group.iter().map(|i| both(&items[*i])).collect();
            for (i, answer) in group.into_iter().zip(ask(adapter, &asked)?) {
                answers[i] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

impl Routed<'_> {
    /// The responder for a question with this wording.
    pub fn choose(&self, question: &str) -> Responder {
        self.responders.choose(self.router.choose(question))
    }
}
