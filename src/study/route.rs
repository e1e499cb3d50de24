//! The router measured: the share of questions that reach their document among the documents of one alias, the share
//! of general questions that reach none, the share of a talk's turns that are routed right, and the time of a choice.

use crate::learn::inner::router::{Conversation, Routable, Router};
use crate::learn::stats::{Estimate, estimate};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// A document with questions about it.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    /// The name that talks call the document by.
    #[serde(default)]
    pub slug: String,
    pub title: String,
    #[serde(alias = "context")]
    pub text: String,
    #[serde(default)]
    pub questions: Vec<Question>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Question {
    pub question: String,
}

/// A conversation, each user turn with the document that it is about.
#[derive(Debug, Clone, Deserialize)]
pub struct Talk {
    pub turns: Vec<Turn>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Turn {
    pub user: String,
    pub assistant: String,
    /// The document's slug; `None`: the turn is about no document.
    pub document: Option<String>,
    /// `ask`, `follow`, `move`, `return`, `general` or `thanks`.
    pub kind: String,
}

/// The router among so many documents.
#[derive(Debug, Clone, Serialize)]
pub struct RouteRow {
    pub documents: usize,
    /// Questions that reach their document.
    pub right: Estimate,
    /// General questions that reach no document.
    pub general: Estimate,
    /// Milliseconds of one choice.
    pub milliseconds: Percentiles,
    /// Milliseconds of building the router, mean of the draws.
    pub build_milliseconds: f32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub median: f32,
    pub p95: f32,
}

/// The turns of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct TalkRow {
    /// A kind of turn, or `all`.
    pub kind: String,
    pub right: Estimate,
    /// The same with answers that say nothing.
    pub without_answers: Estimate,
}

/// Measures the router among `size` documents, once for each seed: a draw of the documents that have questions, filled
/// up with `others`. Passages are the clusters of the interval; a general question is one.
pub fn row(
    asked: &[Document],
    others: &[Document],
    general: &[String],
    size: usize,
    seeds: &[u64],
) -> RouteRow {
    let mut right = vec![Vec::new(); asked.len()];
    let mut strayed = vec![Vec::new(); general.len()];
    let (mut times, mut build) = (Vec::new(), 0.0);
    for seed in seeds {
        let drawn = draw(asked.len(), size, *seed);
        let filling = draw(others.len(), size - drawn.len(), *seed);
        let documents = drawn.iter().map(|i| &asked[*i]);
        let documents: Vec<&Document> =
            (documents.chain(filling.iter().map(|i| &others[*i]))).collect();
        let started = Instant::now();
        let router = router(&documents);
        build += milliseconds(started);
        let mut choose = |question: &str| {
            let started = Instant::now();
            let chosen = router.choose(question);
            times.push(milliseconds(started));
            chosen
        };
        for (place, document) in drawn.iter().enumerate() {
            for q in &asked[*document].questions {
                let found = choose(&q.question) == Some(place);
                right[*document].push(f32::from(u8::from(found)));
            }
        }
        for (question, strayed) in general.iter().zip(&mut strayed) {
            let to_base = choose(question).is_none();
            strayed.push(f32::from(u8::from(to_base)));
        }
    }
    RouteRow {
        documents: size,
        right: estimate(&right),
        general: estimate(&strayed),
        milliseconds: percentiles(times),
        build_milliseconds: build / seeds.len().max(1) as f32,
    }
}

/// Measures talks over all the documents. Talks are the clusters of the interval. Fails if a talk names an unknown
/// document.
pub fn talks(documents: &[Document], talks: &[Talk]) -> Result<Vec<TalkRow>, String> {
    let router = router(&documents.iter().collect::<Vec<_>>());
    let place = |slug: &String| {
        let found = documents.iter().position(|d| d.slug == *slug);
        found.ok_or_else(|| format!("a talk is about {slug:?}, which is no document's slug"))
    };
    // For each kind: the turns of each talk, with the answers and without.
    let mut kinds: BTreeMap<String, [Vec<Vec<f32>>; 2]> = BTreeMap::new();
    for (number, talk) in talks.iter().enumerate() {
        for (nth, turn) in talk.turns.iter().enumerate() {
            let wanted = turn.document.as_ref().map(place).transpose()?;
            for (way, answer) in [None, Some("…")].into_iter().enumerate() {
                let chosen = router.route(&said(&talk.turns[..=nth], answer));
                for kind in ["all", &turn.kind] {
                    let rows = kinds.entry(kind.to_owned()).or_default();
                    rows[way].resize(talks.len(), Vec::new());
                    rows[way][number].push(f32::from(u8::from(chosen == wanted)));
                }
            }
        }
    }
    Ok(kinds
        .into_iter()
        .map(|(kind, [with, without])| TalkRow {
            kind,
            right: estimate(&with),
            without_answers: estimate(&without),
        })
        .collect())
}

/// The conversation up to the last turn's question. `answer` replaces every answer.
fn said(turns: &[Turn], answer: Option<&str>) -> Conversation {
    let turns = turns.iter().flat_map(|turn| {
        let answered = answer.unwrap_or(&turn.assistant);
        [("user", turn.user.as_str()), ("assistant", answered)]
    });
    let mut messages: Vec<(&str, &str)> = turns.collect();
    messages.pop();
    Conversation::new(messages)
}

fn router(documents: &[&Document]) -> Router {
    Router::new(documents.iter().map(|d| Routable {
        title: &d.title,
        text: &d.text,
        questions: Vec::new(),
    }))
}

/// At most `wanted` of the numbers below `of`, drawn by the seed.
fn draw(of: usize, wanted: usize, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..of).collect();
    all.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    all.truncate(wanted);
    all
}

fn milliseconds(since: Instant) -> f32 {
    since.elapsed().as_secs_f32() * 1e3
}

fn percentiles(mut times: Vec<f32>) -> Percentiles {
    if times.is_empty() {
        return Percentiles::default();
    }
    times.sort_by(f32::total_cmp);
    Percentiles {
        median: times[times.len() / 2],
        p95: times[times.len() * 95 / 100],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn documents() -> Vec<Document> {
        serde_json::from_value(json!([
            {"slug": "lamp", "title": "The lamp of Vell", "text": "The lighthouse of Vell burns whale oil.",
             "questions": [{"question": "What does the lighthouse burn?"}, {"question": "Who sings?"}]},
            {"slug": "ferry", "title": "The Senn ferry", "context": "Its captain is Ada Finch.",
             "questions": [{"question": "Who is captain of the ferry?", "answer": "Ada Finch"}]},
        ]))
        .unwrap()
    }

    #[test]
    fn a_row_counts_questions_of_documents_and_others() {
        let general = [
            "What is 2 plus 2?".to_owned(),
            "Who is the captain?".to_owned(),
        ];
        let row = row(&documents(), &[], &general, 2, &[0, 1]);
        assert_eq!((row.right.n, row.general.n), (6, 4));
        assert!((row.right.mean - 2.0 / 3.0).abs() < 1e-6, "{row:?}");
        assert_eq!(row.general.mean, 0.5);
        let one = super::row(&documents(), &documents(), &general, 4, &[0]);
        assert_eq!((one.documents, one.right.n), (4, 3));
    }

    #[test]
    fn talks_are_counted_by_kind() {
        let talk = |document: &str| -> Vec<Talk> {
            serde_json::from_value(json!([{"turns": [
                {"user": "What does the lighthouse burn?", "assistant": "Oil.", "document": document, "kind": "ask"},
                {"user": "Tell me more.", "assistant": "", "document": document, "kind": "follow"},
                {"user": "Thanks!", "assistant": "", "document": null, "kind": "thanks"},
            ]}]))
            .unwrap()
        };
        let rows = talks(&documents(), &talk("lamp")).unwrap();
        let kinds: Vec<_> = rows.iter().map(|r| (r.kind.as_str(), r.right.n)).collect();
        assert_eq!(
            kinds,
            [("all", 3), ("ask", 1), ("follow", 1), ("thanks", 1)]
        );
        assert!(rows.iter().all(|r| r.right.mean == 1.0), "{rows:?}");
        let wrong = talks(&documents(), &talk("ferry")).unwrap();
        assert!(wrong[0].right.mean < 0.5);
        assert!(
            talks(&documents(), &talk("pier"))
                .unwrap_err()
                .contains("pier")
        );
    }
}
