//! The questions that an update asks: the new document's probes, probes of earlier documents, and general probes. Each
//! is asked of the adapter that would answer a client's request.

use super::answerer::{Answerer, Item, Routed};
use super::general;
use super::input::UpdateInput;
use super::replay::{self, Probe};
use super::report::Report;
use super::responders::Responder;
use super::router::{Routable, Router};
use crate::learn::grading::Grading;
use crate::learn::knowledge::Question;
use crate::learn::knowledge::closed_book::{ANSWER_TOKENS, Answer, ask};
use crate::learn::options::strategy::Strategy;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::Adapter;

/// The probes of one update, and the model that they are asked of.
pub struct Asking<'a> {
    model: Interruptible<'a>,
    input: &'a UpdateInput<'a>,
    report: &'a Report,
    /// The probes of earlier documents, each with its document's title.
    pub earlier_probes: Vec<(String, Probe)>,
    /// Questions of general knowledge.
    pub general_questions: Vec<Question>,
}

impl<'a> Asking<'a> {
    pub fn new(model: Interruptible<'a>, input: &'a UpdateInput<'a>, report: &'a Report) -> Self {
        let gate = &input.options.gate;
        // Each update of an alias asks another part of the general questions, whatever its seed.
        let seed = input.options.seed.wrapping_add(input.earlier.len() as u64);
        Asking {
            model,
            input,
            report,
            earlier_probes: in_danger(input, report),
            general_questions: general::some(gate.general_probes, seed),
        }
    }

    /// Whether the alias answers each question right before it learns the document.
    pub fn known(&self, questions: &[Question]) -> Result<Vec<bool>, Interrupted> {
        let title = &self.input.passage.title;
        let items = questions.iter();
        let items: Vec<Item> = items.map(|q| item(title, &q.question, &q.answer)).collect();
        let answerer = self.answerer(None);
        answerer.right(self.model, &items, self.grading(), ANSWER_TOKENS)
    }

    /// The answers to the new document's probes. `new`: the adapter under evaluation. `None`: the live alias answers.
    pub fn own(&self, new: Option<&Adapter>) -> Result<Vec<Answer>, Interrupted> {
        let title = &self.input.passage.title;
        let probes = self.report.probes.iter();
        let items = probes.map(|p| item(title, &p.question, &p.answer));
        self.answer(new, &items.collect::<Vec<_>>())
    }

    /// The answers to the probes of earlier documents. `new`: as for [`Asking::own`].
    pub fn earlier(&self, new: Option<&Adapter>) -> Result<Vec<Answer>, Interrupted> {
        let probes = self.earlier_probes.iter();
        let items = probes.map(|(title, p)| item(title, &p.question.question, &p.question.answer));
        self.answer(new, &items.collect::<Vec<_>>())
    }

    /// The answers to the general questions with the adapter under evaluation.
    pub fn general(&self, new: &Adapter) -> Result<Vec<Answer>, Interrupted> {
        self.answerer(Some(new)).answer(
            self.model,
            &self.general_items(),
            general::GRADER.into(),
            general::ANSWER_TOKENS,
        )
    }

    /// The base's answers to the general questions.
    pub fn base_general(&self) -> Result<Vec<Answer>, Interrupted> {
        Answerer::One(None).answer(
            self.model,
            &self.general_items(),
            general::GRADER.into(),
            general::ANSWER_TOKENS,
        )
    }

    /// Whether the alias would still give the old answers to the retired probes of the replaced document.
    pub fn retired(&self, new: &Adapter) -> Result<Vec<bool>, Interrupted> {
        let Some(replaced) = &self.report.replaced else {
            return Ok(Vec::new());
        };
        let items: Vec<Item> = (replaced.retired())
            .map(|p| item(&replaced.title, &p.question, &p.answer))
            .collect();
        self.answerer(Some(new))
            .right(self.model, &items, self.grading(), ANSWER_TOKENS)
    }

    /// The index, among the earlier documents that stay, of the one most like the new document; `None` if none stays.
    pub fn most_like(&self) -> Option<usize> {
        let UpdateInput { passage, .. } = self.input;
        let new = Routable {
            title: &passage.title,
            text: &passage.text,
            questions: Vec::new(),
        };
        let staying = self.input.staying().into_iter();
        replay::router(staying.map(|e| (&e.passage, e.texts.as_slice()))).most_like(new)
    }

    fn general_items(&self) -> Vec<Item> {
        let questions = self.general_questions.iter();
        questions.map(general::item).collect()
    }

    fn answer(&self, new: Option<&Adapter>, items: &[Item]) -> Result<Vec<Answer>, Interrupted> {
        self.answerer(new)
            .answer(self.model, items, self.grading(), ANSWER_TOKENS)
    }

    pub fn grading(&self) -> Grading<'a> {
        Grading {
            grader: self.input.options.gate.grader,
            judge: self.input.helpers.judge.as_deref(),
        }
    }

    /// The alias as it answers now, or as it would answer with the adapter under evaluation.
    fn answerer<'n>(&'n self, new: Option<&'n Adapter>) -> Answerer<'n> {
        let routes = self.input.options.training.strategy == Strategy::Route;
        let responders = match new {
            None => self.input.responders.clone(),
            Some(_) => {
                (self.input.staying_responders()).after_update(routes, self.report.continued)
            }
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

/// The probes of earlier documents whose answers the update may change.
///
/// Under `route`, an update that continues an adapter endangers two kinds of probes: those of the documents that the
/// adapter has learned, and those that the router would now send to the new document. Other probes cannot change and
/// would only dilute a loss. In all other cases the sample covers every earlier document. A replaced document is not
/// guarded: what its newer text still says is asked with the new document's own probes.
fn in_danger(input: &UpdateInput<'_>, report: &Report) -> Vec<(String, Probe)> {
    let routes = input.options.training.strategy == Strategy::Route;
    let Some(shared) = report.continued.filter(|_| routes) else {
        return replay::probes(input.staying());
    };
    let (staying, responders) = (input.staying(), input.staying_responders());
    let new = staying.len();
    let (mut in_it, mut others) = (Vec::new(), Vec::new());
    for (earlier, responder) in staying.into_iter().zip(responders.documents()) {
        match responder.version() == Some(shared) {
            true => in_it.push(earlier),
            false => others.push(earlier),
        }
    }
    let router = router(input, report, true);
    let moves = |(_, probe): &(String, Probe)| router.choose(&probe.question.question) == Some(new);
    let moved = replay::probes(others).into_iter().filter(moves);
    let probes = replay::probes(in_it).into_iter().chain(moved);
    probes.take(replay::RETENTION_PROBES).collect()
}

/// A router between the earlier documents; with `with_new` the new document is the last, and a replaced one is gone.
fn router(input: &UpdateInput<'_>, report: &Report, with_new: bool) -> Router {
    let own = with_new.then_some((input.passage, report.training_sequences.as_slice()));
    let earlier = match with_new {
        true => input.staying(),
        false => input.earlier.iter().collect(),
    };
    let all = earlier
        .into_iter()
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
