//! The first steps of an update: study notes and probes. A long document is learned in parts: notes are written about
//! each, and the probes are spread over all.

use super::report::{Origin, PartReport, ProbeReport};
use super::update::Run;
use crate::learn::knowledge::Passage;
use crate::learn::knowledge::author::Author;
use crate::learn::knowledge::questions::{self, WrittenProbes};
use crate::learn::knowledge::self_edit::{self, SelfEdit};
use crate::learn::knowledge::sequences::training_texts;
use crate::learn::options::strategy::Method;
use crate::learn::ports::journal::{Interrupted, step};
use crate::learn::ports::model::TrainingText;
use serde_json::json;
use std::collections::HashSet;
use std::time::Instant;

/// Between the seeds of two parts.
const SEEDS: u64 = 1_000_003;
/// Fewest probes asked of a part that is asked at all: about half of the questions fail the round trip.
const FEWEST: usize = 2;

impl Run<'_> {
    /// Tells of the parts of a long document before anything is made of them.
    pub(super) fn list_parts(&mut self) {
        if self.parts.len() < 2 {
            return;
        }
        let part = |part: &Passage| PartReport {
            title: part.title.clone(),
            tokens: self.model.tokens(&part.text),
            self_edits: 0,
            training_sequences: 0,
            probes: 0,
        };
        self.report.parts = self.parts.iter().map(part).collect();
        (self.input.on_report)(&self.report);
    }

    /// The self-edits of every part, and the sequences cut from them.
    pub(super) fn write_notes(&mut self) -> Result<(), Interrupted> {
        let clock = Instant::now();
        let parts = self.parts.len();
        let mut seen: HashSet<TrainingText> = HashSet::new();
        for nth in 0..parts {
            let share = nth as f32 / parts as f32;
            let message = of_parts("writing study notes", nth, parts);
            self.journal
                .progress("self_edit", 0.02 + 0.16 * share, &message);
            let edits = step(self.journal, &key("self_edits", nth), || self.notes(nth))?;
            let part = &self.parts[nth];
            let mut texts = training_texts(part, &edits, &|text| self.model.tokens(text));
            texts.retain(|text| seen.insert(text.clone()));
            for edit in &edits {
                self.journal.event(
                    "self_edit",
                    json!({"kind": edit.kind, "teacher": edit.teacher, "policy": edit.policy,
                           "text": edit.text, "sequences": edit.statements.len() + edit.pairs.len() + edit.forms.len()}),
                );
            }
            if let Some(part) = self.report.parts.get_mut(nth) {
                (part.self_edits, part.training_sequences) = (edits.len(), texts.len());
            }
            self.report.training_sequences.extend(texts);
            self.report.self_edits.extend(edits);
        }
        self.done("self_edit", clock);
        Ok(())
    }

    fn notes(&self, nth: usize) -> Result<Vec<SelfEdit>, Interrupted> {
        let (options, policy) = (&self.input.options, self.input.policy);
        let adapter = policy.map(|p| p.adapter);
        let mut edit = options.self_edit.clone();
        if options.training.method == Method::Distill {
            // It takes the questions alone.
            edit.forms.clear();
        }
        let author = Author::new(edit.writer, self.model, adapter, self.input.helpers)?;
        let seed = options.seed.wrapping_add(nth as u64 * SEEDS);
        let mut edits = self_edit::write(author, &self.parts[nth], &edit, seed)?;
        for edit in &mut edits {
            edit.policy = policy.map(|p| p.name.to_owned());
        }
        Ok(edits)
    }

    /// The questions this update is judged by, fixed before anything is trained.
    pub(super) fn fix_probes(&mut self) -> Result<(), Interrupted> {
        let clock = Instant::now();
        self.journal.progress("probes", 0.2, "fixing the questions");
        let (written, origin) = match self.input.given {
            [] => (self.written_probes()?, Origin::Written),
            given => {
                let kept = given.to_vec();
                let dropped = Vec::new();
                (WrittenProbes { kept, dropped }, Origin::Given)
            }
        };
        self.journal.event(
            "probes",
            json!({"kept": written.kept, "dropped": written.dropped.len()}),
        );
        let probes = written.kept.into_iter().map(|q| ProbeReport {
            question: q.question,
            answer: q.answer,
            origin,
            before: None,
            after: None,
        });
        self.report.probes = probes.collect();
        if let Some(replaced) = &self.report.replaced {
            let kept = replaced.to_ask(&self.report.probes);
            self.report.probes.extend(kept);
        }
        self.report.dropped_probes = written.dropped;
        self.done("probes", clock);
        Ok(())
    }

    fn written_probes(&mut self) -> Result<WrittenProbes, Interrupted> {
        let parts = self.parts.len();
        let mut written = WrittenProbes::default();
        for (nth, wanted) in shares(self.input.options.gate.probes, parts)
            .into_iter()
            .enumerate()
            .filter(|(_, wanted)| *wanted > 0)
        {
            if parts > 1 {
                let message = of_parts("fixing the questions", nth, parts);
                let share = nth as f32 / parts as f32;
                self.journal
                    .progress("probes", 0.2 + 0.14 * share, &message);
            }
            let seed = (self.input.options.seed).wrapping_add(1 + nth as u64 * SEEDS);
            let of_part: WrittenProbes = step(self.journal, &key("probes", nth), || {
                let asking = self.asking();
                questions::write(
                    self.model,
                    |questions| asking.known(questions),
                    &self.parts[nth],
                    &self.report.training_sequences,
                    wanted,
                    seed,
                )
            })?;
            if let Some(part) = self.report.parts.get_mut(nth) {
                part.probes = of_part.kept.len();
            }
            written.kept.extend(of_part.kept);
            written.dropped.extend(of_part.dropped);
        }
        Ok(written)
    }
}

/// The name of a step of a part. The first part has the name that a short document's step has.
fn key(step: &str, nth: usize) -> String {
    match nth {
        0 => step.to_owned(),
        nth => format!("{step}:part:{nth}"),
    }
}

fn of_parts(work: &str, nth: usize, parts: usize) -> String {
    match parts {
        1 => work.to_owned(),
        _ => format!("{work}, part {} of {parts}", nth + 1),
    }
}

/// The probes wanted of each part, spread evenly; all of a document in one part.
fn shares(wanted: usize, parts: usize) -> Vec<usize> {
    let until = |nth: usize| nth * wanted / parts;
    let share = |nth| match until(nth + 1) - until(nth) {
        0 => 0,
        share if parts > 1 => share.max(FEWEST),
        share => share,
    };
    (0..parts).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_spread_over_the_parts() {
        assert_eq!(shares(8, 1), [8]);
        assert_eq!(shares(1, 1), [1]);
        assert_eq!(shares(8, 3), [2, 3, 3]);
        assert_eq!(shares(2, 4), [0, 2, 0, 2]);
    }

    #[test]
    fn a_short_document_keeps_the_names_of_its_steps() {
        assert_eq!(key("probes", 0), "probes");
        assert_eq!(key("probes", 2), "probes:part:2");
    }
}
