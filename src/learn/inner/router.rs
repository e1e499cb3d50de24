//! The router of the strategy `route` finds the document that a question is about, by BM25 over titles, texts and known
//! questions. The router needs no model, so a choice takes microseconds. A question that shares too few words with
//! every document gets no document, so that the base still answers general questions.

use crate::text::words::words;
use std::collections::{BTreeSet, HashMap};

/// The parts of a document that the router reads.
#[derive(Debug, Clone)]
pub struct Routable<'a> {
    pub title: &'a str,
    pub text: &'a str,
    /// Questions that are known to be about the document.
    pub questions: Vec<&'a str>,
}

/// Okapi BM25's k1, at its usual value: the saturation of repeated words.
const K1: f32 = 1.2;
/// Okapi BM25's b, at its usual value: the weight of a document's length.
const B: f32 = 0.75;
/// A word of the title counts as often as this many occurrences in the text.
const TITLE_WEIGHT: f32 = 3.0;
/// The share of a question's words, weighted by rarity, that the chosen document must contain.
const MIN_COVERAGE: f32 = 0.34;

/// Words without a topic, which are ignored.
const STOP_WORDS: &str = "about above after all also am an and any are as at be because been before being \
    below between both but by can could did do does doing down during each else ever every few for from \
    further get give gives had has have having he her here hers him his how i if in into is it its just \
    know known let may me might more most much must my name named no nor not of off on once one only or \
    other our out over own please same say says shall she should so some such tell than that the their them \
    then there these they this those through to too two under until up upon us use used very was we were \
    what when where which while who whom whose why will with would you your topic question answer \
    directly concisely many long";

/// An index of documents. The documents are numbered in the order in which they were given.
pub struct Router {
    documents: Vec<Indexed>,
    /// Inverse document frequency of every word of the documents.
    rarity: HashMap<String, f32>,
    mean_length: f32,
}

struct Indexed {
    counts: HashMap<String, f32>,
    length: f32,
}

impl Router {
    pub fn new<'a>(documents: impl IntoIterator<Item = Routable<'a>>) -> Self {
        let documents: Vec<Indexed> = documents.into_iter().map(index).collect();
        let n = counted(documents.len());
        let mut holders: HashMap<String, f32> = HashMap::new();
        for word in documents.iter().flat_map(|d| d.counts.keys()) {
            *holders.entry(word.clone()).or_default() += 1.0;
        }
        let rarity = holders
            .into_iter()
            .map(|(word, held)| (word, idf(n, held)))
            .collect();
        let lengths = documents.iter().map(|d| d.length).sum::<f32>();
        let mean_length = lengths / documents.len().max(1) as f32;
        Router {
            documents,
            rarity,
            mean_length,
        }
    }

    /// The index of the document that the question is most likely about; `None` if it is about none of them.
    pub fn choose(&self, question: &str) -> Option<usize> {
        // An ordered set, because the order of a float sum changes its last bits.
        let asked: BTreeSet<String> = content_words(question).collect();
        let unknown = idf(counted(self.documents.len()), 0.0);
        let rarity = |word: &String| self.rarity.get(word).copied().unwrap_or(unknown);
        let all: f32 = asked.iter().map(rarity).sum();
        let scored = self.documents.iter().enumerate().map(|(i, document)| {
            let long = document.length / self.mean_length.max(1.0);
            let (mut score, mut held) = (0.0, 0.0);
            for word in &asked {
                let Some(count) = document.counts.get(word) else {
                    continue;
                };
                held += rarity(word);
                score += rarity(word) * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * long));
            }
            (i, score, held)
        });
        // Among equals the newest document wins, since it may correct an older one.
        let best = scored.max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        best.filter(|(_, score, held)| *score > 0.0 && *held >= MIN_COVERAGE * all)
            .map(|(i, ..)| i)
    }

    /// The index of the document that shares the most words with this one, weighted by rarity; `None` if there are no
    /// documents.
    pub fn most_like(&self, document: Routable<'_>) -> Option<usize> {
        let text = format!("{} {}", document.title, document.text);
        let asked: BTreeSet<String> = content_words(&text).collect();
        let likeness = |d: &Indexed| -> f32 {
            let shared = asked.iter().filter(|w| d.counts.contains_key(*w));
            shared.map(|w| self.rarity[w]).sum()
        };
        (0..self.documents.len()).max_by(|a, b| {
            let (a, b) = (&self.documents[*a], &self.documents[*b]);
            likeness(a).total_cmp(&likeness(b))
        })
    }
}

fn index(document: Routable<'_>) -> Indexed {
    let mut counts: HashMap<String, f32> = HashMap::new();
    let mut add = |text: &str, weight: f32| {
        for word in content_words(text) {
            *counts.entry(word).or_default() += weight;
        }
    };
    add(document.title, TITLE_WEIGHT);
    add(document.text, 1.0);
    for question in document.questions {
        add(question, 1.0);
    }
    let length = counts.values().sum();
    Indexed { counts, length }
}

/// The smallest collection size that the inverse document frequency assumes. Among two or three documents every word
/// would seem common.
const SMALLEST: usize = 20;

fn counted(documents: usize) -> f32 {
    documents.max(SMALLEST) as f32
}

fn idf(documents: f32, holding: f32) -> f32 {
    (1.0 + (documents - holding + 0.5) / (holding + 0.5)).ln()
}

fn content_words(text: &str) -> impl Iterator<Item = String> {
    // "the bride’s" and "tub-race" contain the words bride, tub and race.
    let spaced = text.replace(['-', '–', '—', '/', '’', '“', '”', '„'], " ");
    let words = words(&spaced).into_iter();
    words
        .filter(|w| w.len() > 1 && !STOP_WORDS.split_whitespace().any(|s| s == w))
        .map(|w| stem(&w))
}

/// The word without its ending, so that plurals and verb forms match: races, raced, racing → rac. The rule is crude,
/// but applies to questions and documents alike.
fn stem(word: &str) -> String {
    if word.chars().any(|c| c.is_ascii_digit()) {
        return word.to_owned();
    }
    let long_enough = |s: &&str| s.chars().count() >= 3;
    let endings = ["ing", "ies", "ied", "es", "ed", "s", "e", "y"];
    let cut = endings
        .iter()
        .filter_map(|end| word.strip_suffix(end))
        .find(long_enough);
    cut.unwrap_or(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Question;

    fn lamp() -> Routable<'static> {
        Routable {
            title: "The lamp of Vell",
            text: "The lighthouse of Vell was built by Orr Hallam in 1911 and burns whale oil.",
            questions: vec![],
        }
    }

    fn ferry() -> Routable<'static> {
        Routable {
            title: "The Senn ferry",
            text: "The ferry crosses the river Senn twice a day; its captain is Ada Finch.",
            questions: vec!["Who steers the boat to the far bank?"],
        }
    }

    #[test]
    fn a_question_goes_to_its_document_or_to_none() {
        let router = Router::new([lamp(), ferry()]);
        assert_eq!(router.choose("Who built the lighthouse?"), Some(0));
        assert_eq!(router.choose("Who is the captain of the ferry?"), Some(1));
        assert_eq!(router.choose("Who was steering the boat?"), Some(1));
        assert_eq!(router.choose("What is the capital of France?"), None);
        assert_eq!(router.choose(""), None);
        assert_eq!(Router::new([]).choose("Who?"), None);
        let one = Router::new([lamp()]);
        assert_eq!(one.choose("Where is the lamp kept?"), Some(0));
    }

    #[test]
    fn a_document_is_most_like_the_one_that_shares_its_rare_words() {
        let router = Router::new([lamp(), ferry()]);
        let pier = Routable {
            title: "The pier",
            text: "Where the ferry over the Senn lands.",
            questions: vec![],
        };
        assert_eq!(router.most_like(pier), Some(1));
        assert_eq!(router.most_like(lamp()), Some(0));
    }

    /// Asks all questions of the demo, worded as people ask, among its twenty documents, and questions about none of
    /// them.
    #[test]
    fn the_demo_is_routed() {
        #[derive(serde::Deserialize)]
        struct Entry {
            title: String,
            text: String,
            questions: Vec<Question>,
        }
        let demo: Vec<Entry> =
            serde_json::from_str(include_str!("../../../demo/documents.json")).unwrap();
        let router = Router::new(demo.iter().map(|d| Routable {
            title: &d.title,
            text: &d.text,
            questions: vec![],
        }));
        let asked = demo.iter().enumerate();
        let asked: Vec<(usize, &str)> = asked
            .flat_map(|(i, d)| d.questions.iter().map(move |q| (i, q.question.as_str())))
            .collect();
        let wrong: Vec<_> = asked
            .iter()
            .filter(|(i, q)| router.choose(q) != Some(*i))
            .collect();
        println!("{} of {} misrouted: {wrong:?}", wrong.len(), asked.len());
        assert!(wrong.len() * 20 <= asked.len(), "{wrong:?}");

        let general = crate::learn::inner::general::all();
        let stray: Vec<_> = general
            .iter()
            .filter(|q| router.choose(&q.question).is_some())
            .map(|q| &q.question)
            .collect();
        println!("{} of {} strayed: {stray:?}", stray.len(), general.len());
        assert!(stray.len() * 5 <= general.len(), "{stray:?}");
    }
}
