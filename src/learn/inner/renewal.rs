//! The steps of an update that replaces an earlier document: its probes are reviewed, and an acceptable attempt is
//! bettered while attempts are left.

use super::gate::lost;
use super::input::UpdateInput;
use super::replacement::{self, ReplacedReport, Texts};
use super::report::{ProbeReport, Report};
use super::update::{Run, UpdateOutcome};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::ports::journal::{Interrupted, step};
use crate::learn::ports::model::Adapter;
use serde_json::json;
use std::time::Instant;

/// An attempt that the gate accepts, kept while a better one is tried.
pub(super) struct Usable {
    pub report: Report,
    pub adapter: Adapter,
    /// Whether it was trained more gently than the options say.
    pub gentler: bool,
    pub reason: String,
}

impl Run<'_> {
    /// Which probes of the replaced document the newer text still answers.
    pub(super) fn review_replaced(&mut self) -> Result<(), Interrupted> {
        let (Some(old), Some(replaces)) = (self.input.replaced(), self.input.replaces) else {
            return Ok(());
        };
        let clock = Instant::now();
        self.journal
            .progress("replaced", 0.18, "asking the earlier text's questions");
        let UpdateInput { passage, given, .. } = self.input;
        let probes = step(self.journal, "replaced_probes", || {
            let grading = self.asking().grading();
            let texts = Texts {
                old: &(self.input.cut)(&old.passage),
                new: &self.parts,
            };
            replacement::review(self.model, old, passage, &texts, given, grading)
        })?;
        let replaced = ReplacedReport::new(replaces.id, &old.passage.title, probes);
        let retired: Vec<_> = replaced.retired().collect();
        self.journal.event(
            "replaces",
            json!({"replaced": replaced.document, "kept": replaced.kept().count(), "retired": retired}),
        );
        self.report.replaced = Some(replaced);
        self.done("replaced", clock);
        Ok(())
    }

    /// What an acceptable newer text still lacks, and further training may bring: what the earlier text said too is
    /// kept, and the old answers are not given any more.
    pub(super) fn shortfall(&self) -> Option<String> {
        let replaced = self.report.replaced.as_ref()?;
        let answers = |of: fn(&ProbeReport) -> &Option<Answer>| -> Vec<Answer> {
            self.report
                .probes
                .iter()
                .filter_map(|p| of(p).clone())
                .collect()
        };
        let lost = lost(&answers(|p| &p.before), &answers(|p| &p.after));
        if lost > self.input.options.gate.retention_budget + f32::EPSILON {
            return Some(format!(
                "{:.0} % of what the newer text still says is lost",
                100.0 * lost
            ));
        }
        // A fresh adapter has not learned the earlier text.
        let stale = self.report.continued.and(replaced.still_answered)?;
        (stale > 0).then(|| format!("{stale} of the old answers are still given"))
    }

    /// Decides for an attempt that was acceptable, after a later one that was not.
    pub(super) fn settle(mut self, usable: Usable) -> UpdateOutcome {
        let (attempts, seconds) = (self.report.attempts, self.report.seconds);
        self.report = Report {
            attempts,
            seconds,
            ..usable.report
        };
        self.decide(Some(usable.adapter), usable.gentler, usable.reason)
    }
}
