//! The router of the strategy `route` finds the document that a request is about.
//!
//! ```text
//! talk        a conversation: which turn names a document, which goes on, which is about something else
//! ├ evidence  whether a question is about the document that is most like it, or about none
//! ├ index     BM25 over the features of documents and of their sentences
//! ├ asked     the units of a question, each with its weights
//! ├ speech    what each word does in a sentence, in the text's language
//! │ ├ lexicon function words and words of conversation
//! │ └ common  words of general questions
//! └ terms     the features of words
//! ```
//!
//! The router needs no model, so a choice takes less than a millisecond among a thousand documents.

mod asked;
mod common;
mod evidence;
mod index;
mod lexicon;
mod speech;
mod talk;
mod terms;
#[cfg(test)]
mod tests;

use asked::{Asked, asked};
use index::{Hit, Hits, Index};
use speech::Speech;
use std::collections::HashSet;
pub use talk::Conversation;
use terms::{Unit, units};

/// The parts of a document that the router reads.
#[derive(Debug, Clone)]
pub struct Routable<'a> {
    pub title: &'a str,
    pub text: &'a str,
    /// Questions that are known to be about the document.
    pub questions: Vec<&'a str>,
}

/// An index of documents. The documents are numbered in the order in which they were given.
pub struct Router {
    index: Index,
    /// The units of each document's title.
    titles: Vec<Vec<Unit>>,
}

impl Router {
    pub fn new<'a>(documents: impl IntoIterator<Item = Routable<'a>>) -> Self {
        let mut titles = Vec::new();
        let texts = documents.into_iter().map(|document| {
            let speech = Speech::new(document.title);
            titles.push(units(&speech.tokens, |i| speech.bears_topic(i)));
            let mut texts = vec![document.title, document.text];
            texts.extend(document.questions);
            texts
        });
        let index = Index::new(texts);
        Router { index, titles }
    }

    /// The index of the document that the question is about by itself; `None` if it is about none of them.
    pub fn choose(&self, question: &str) -> Option<usize> {
        self.route(&Conversation::question(question))
    }

    /// The index of the document that the conversation's last user turn is about; `None` if it is about none of them.
    pub fn route(&self, conversation: &Conversation) -> Option<usize> {
        talk::route(self, conversation)
    }

    /// The index of the document that holds most of this one's information; `None` if there are no documents.
    pub fn most_like(&self, document: Routable<'_>) -> Option<usize> {
        let text = format!("{}\n{}", document.title, document.text);
        let mut seen = HashSet::new();
        let speech = Speech::new(&text);
        let mut asked = asked(&speech);
        // Repeated words count once.
        asked.retain(|a| seen.insert(a.unit.features.clone()));
        let hits = self.index.find(&asked, speech.script).hits;
        let most = hits.iter().max_by(|a, b| a.held.total_cmp(&b.held));
        let newest = self.index.len().checked_sub(1);
        most.map(|hit| hit.document).or(newest)
    }

    /// The log-odds that a question is about the document of `hit` rather than about none.
    fn log_odds(&self, asked: &[Asked], hits: &Hits, hit: &Hit) -> f32 {
        let title = self.title(hit.document, asked, hits.among);
        evidence::log_odds(hits, hit, title)
    }

    /// The part of the title's information, among so many documents, that the question names.
    fn title(&self, document: usize, asked: &[Asked], among: usize) -> f32 {
        let features = asked.iter().flat_map(|a| &a.unit.features);
        let features: HashSet<u64> = features.copied().collect();
        let (mut held, mut all) = (0.0, 0.0);
        for unit in &self.titles[document] {
            let information = self.index.information(unit, among);
            let found = unit.features.iter().filter(|f| features.contains(f));
            held += information * found.count() as f32 / unit.features.len().max(1) as f32;
            all += information;
        }
        if all > 0.0 { held / all } else { 0.0 }
    }
}
