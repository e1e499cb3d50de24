//! Whom an update asks what: the new document's probes, those of earlier documents and general ones, each
//! of the adapter that would answer a client's request.

use super::answerer::{Answerer, Item, Routed};
use super::general;
use super::replay::{self, Earlier, Probe};
use super::report::Report;
use super::responders::Responder;
use super::route::{Routable, Router};
use super::update::UpdateInput;
use crate::learn::grading::Grading;
use crate::learn::knowledge::Question;
use crate::learn::knowledge::closed_book::{ANSWER_TOKENS, Answer, ask};
use crate::learn::options::strategy::Strategy;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::Adapter;

pub struct Asking<'a> {
    model: Interruptible<'a>,
    input: &'a UpdateInput<'a>,
    report: &'a Report,
    /// Those asked of earlier documents, with the titles.
    pub earlier_probes: Vec<(String, Probe)>,
    pub general_questions: Vec<Question>,
}

impl<'a> Asking<'a> {
    pub fn new(model: Interruptible<'a>, input: &'a UpdateInput<'a>, report: &'a Report) -> Self {
        let gate = &input.options.gate;
        // Another part of the set for each update of an alias, whatever its seed.
        let seed = input.options.seed.wrapping_add(input.earlier.len() as u64);
        Asking {
            model,
            input,
            report,
            earlier_probes: in_danger(input, report),
            general_questions: general::some(gate.general_probes, seed),
        }
    }

    /// Which of these the alias answers right now, without the document.
    pub fn known(&self, questions: &[Question]) -> Result<Vec<bool>, Interrupted> {
        let title = &self.input.passage.title;
        let items = questions.iter();
        let items: Vec<Item> = items.map(|q| item(title, &q.question, &q.answer)).collect();
        let answerer = self.answerer(None);
        answerer.right(self.model, &items, self.grading(), ANSWER_TOKENS)
    }

    /// The new document's probes. `new`: the adapter under evaluation; without it the live one answers.
    pub fn own(&self, new: Option<&Adapter>) -> Result<Vec<Answer>, Interrupted> {
        let title = &self.input.passage.title;
        let probes = self.report.probes.iter();
        let items = probes.map(|p| item(title, &p.question, &p.answer));
        self.answer(new, &items.collect::<Vec<_>>())
    }

    pub fn earlier(&self, new: Option<&Adapter>) -> Result<Vec<Answer>, Interrupted> {
        let probes = self.earlier_probes.iter();
        let items = probes.map(|(title, p)| item(title, &p.question.question, &p.question.answer));
        self.answer(new, &items.collect::<Vec<_>>())
    }

    pub fn general(&self, new: &Adapter) -> Result<Vec<Answer>, Interrupted> {
        self.answerer(Some(new)).answer(
            self.model,
            &self.general_items(),
            general::GRADER.into(),
            general::ANSWER_TOKENS,
        )
    }

    pub fn base_general(&self) -> Result<Vec<Answer>, Interrupted> {
        Answerer::One(None).answer(
            self.model,
            &self.general_items(),
            general::GRADER.into(),
            general::ANSWER_TOKENS,
        )
    }

    /// Which earlier document is most like the new one.
    pub fn most_like(&self) -> Option<usize> {
        let UpdateInput { passage, .. } = self.input;
        let new = Routable {
            title: &passage.title,
            text: &passage.text,
            questions: Vec::new(),
        };
        router(self.input, self.report, false).most_like(new)
    }

    fn general_items(&self) -> Vec<Item> {
        let questions = self.general_questions.iter();
        questions.map(general::item).collect()
    }

    fn answer(&self, new: Option<&Adapter>, items: &[Item]) -> Result<Vec<Answer>, Interrupted> {
        self.answerer(new)
            .answer(self.model, items, self.grading(), ANSWER_TOKENS)
    }

    fn grading(&self) -> Grading<'_> {
        Grading {
            grader: self.input.options.gate.grader,
            judge: self.input.helpers.judge.as_deref(),
        }
    }

    /// What answers for the alias: as it is now, or as it would be with the adapter under evaluation.
    fn answerer<'n>(&'n self, new: Option<&'n Adapter>) -> Answerer<'n> {
        let routes = self.input.options.training.strategy == Strategy::Route;
        let responders = match new {
            None => self.input.responders.clone(),
            Some(_) => (self.input.responders).after_update(routes, self.report.continued),
        };
        if !responders.is_routed() {
            return Answerer::One(match responders.otherwise() {
                Responder::New => new,
                _ => self.input.live.map(|l| l.adapter),
            });
        }
        Answerer::Routed(Routed {
            router: router(self.input, self.report, new.is_some()),
            responders,
            new,
            load: self.input.load,
        })
    }
}

/// The probes of earlier documents that stand for what the update may lose. Where it joins an adapter that others have
/// too, those of the documents in there, and such of the others as the router would send to the new document: what is
/// out of danger would only thin the loss out. Else those of all.
fn in_danger(input: &UpdateInput<'_>, report: &Report) -> Vec<(String, Probe)> {
    let routes = input.options.training.strategy == Strategy::Route;
    let Some(shared) = report.continued.filter(|_| routes) else {
        return replay::probes(input.earlier);
    };
    let responders = input.responders.documents().iter();
    let (in_it, others): (Vec<_>, Vec<_>) =
        (input.earlier.iter().zip(responders)).partition(|(_, r)| r.version() == Some(shared));
    let documents = |of: Vec<(_, _)>| of.into_iter().map(|(e, _): (&Earlier, &Responder)| e);
    let router = router(input, report, true);
    let new = input.earlier.len();
    let moves = |(_, probe): &(String, Probe)| router.choose(&probe.question.question) == Some(new);
    let moved = replay::probes(documents(others)).into_iter().filter(moves);
    let probes = replay::probes(documents(in_it)).into_iter().chain(moved);
    probes.take(replay::RETENTION_PROBES).collect()
}

/// Between the earlier documents, and with `with_new` the new one, which is the last.
fn router(input: &UpdateInput<'_>, report: &Report, with_new: bool) -> Router {
    let own = with_new.then_some((input.passage, report.training_sequences.as_slice()));
    let all = input
        .earlier
        .iter()
        .map(|e| (&e.passage, e.texts.as_slice()));
    replay::router(all.chain(own))
}

fn item(title: &str, question: &str, gold: &str) -> Item {
    Item {
        question: question.to_owned(),
        prompt: ask(title, question),
        gold: gold.to_owned(),
    }
}
