//! Storing an accepted update's measurements as cells of the forgetting matrix. The answers after the update belong to
//! the new version, the answers before it to the previous version (0: the base).

use crate::adapters::AliasName;
use crate::jobs::JobFailure;
use crate::learn::inner::report::Report;
use crate::learn::knowledge::closed_book::Answer;
use crate::store::{Document, GeneralScore, ProbeScore, Store};

pub(crate) fn keep(
    store: &Store,
    document: &Document,
    alias: &AliasName,
    report: &Report,
    version: u64,
) -> Result<(), JobFailure> {
    let before = store
        .aliases()
        .version(alias.as_str(), version)?
        .and_then(|v| v.parent)
        .unwrap_or(0);
    let own = store.probes().for_document(&document.id)?;
    let own = own.into_iter().zip(&report.probes);
    let own = own.map(|(stored, p)| (stored.id, p.before.as_ref(), p.after.as_ref()));
    let retained = report.retained.iter();
    let retained = retained.map(|p| (p.probe.clone(), Some(&p.before), p.after.as_ref()));
    let score = |probe: &String, version: u64, answer: &Answer| ProbeScore {
        probe_id: probe.clone(),
        alias: alias.as_str().to_owned(),
        version,
        correct: answer.correct,
        logprob: Some(f64::from(answer.logprob)),
        answer: answer.answer.clone(),
    };
    let cells = own.chain(retained).flat_map(|(probe, old, new)| {
        let old = old.map(|answer| score(&probe, before, answer));
        let new = new.map(|answer| score(&probe, version, answer));
        [old, new]
    });
    let cells: Vec<ProbeScore> = cells.flatten().collect();
    store.probes().record_scores(&cells)?;
    if !report.general.is_empty() {
        let right = |answer: Option<&Answer>| answer.is_some_and(|a| a.correct);
        let count = |rights: Vec<bool>| rights.into_iter().filter(|r| *r).count() as u64;
        let general = report.general.iter();
        let base = general.clone().map(|p| right(Some(&p.before))).collect();
        let now = general.map(|p| right(p.after.as_ref())).collect();
        let score = GeneralScore {
            version,
            probes: report.general.len() as u64,
            base_correct: count(base),
            correct: count(now),
        };
        store.probes().record_general(alias.as_str(), score)?;
    }
    Ok(())
}
