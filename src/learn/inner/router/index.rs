//! An inverted index of documents with BM25 weights. The features of a question are looked up, and nothing else is read.

use super::asked::Asked;
use super::speech::Speech;
use super::terms::{Unit, units};
use crate::text::script::{Script, main_script};
use crate::text::sentences::sentences;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Okapi BM25's k1: the saturation of repeated features. Half of the usual value: the pieces of a word repeat together.
const K1: f32 = 0.6;
/// Okapi BM25's b: the weight of a text's length.
const B: f32 = 0.6;
/// The weight of the best sentence beside that of the whole document: a question is mostly about one sentence.
const SENTENCE: f32 = 2.0;
/// The share of a word that a document holds at least, if it holds another form of the word: one that begins alike.
const INFLECTED: f32 = 0.75;
/// The smallest collection size that the inverse document frequency assumes. Among two or three documents every word
/// would seem common.
const SMALLEST: usize = 20;

/// Feature → texts that contain it, each with its BM25 weight.
#[derive(Default)]
struct Postings {
    places: ByFeature<(u32, u32)>,
    entries: Vec<(u32, f32)>,
}

/// A map from features, which are hashes already.
type ByFeature<T> = HashMap<u64, T, BuildHasherDefault<Hashed>>;

/// How often a text holds each feature.
type Counts = ByFeature<f32>;

/// Passes a feature on as its own hash.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, feature: u64) {
        self.0 = feature;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub struct Index {
    documents: Postings,
    sentences: Postings,
    /// The document of each sentence.
    owners: Vec<u32>,
    /// Number of documents of each script.
    scripts: HashMap<Script, usize>,
    len: usize,
}

/// A document that shares a feature with the question.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    pub document: usize,
    pub score: f32,
    /// The part of the question's information, nats, that the document holds.
    pub held: f32,
}

/// The documents that share a feature with a question.
pub struct Hits {
    pub hits: Vec<Hit>,
    /// The information of the question, nats.
    pub asked: f32,
    /// Number of documents that the question can be about.
    pub among: usize,
}

impl Index {
    /// `documents`: the texts of each document.
    pub fn new<'a>(documents: impl IntoIterator<Item = Vec<&'a str>>) -> Self {
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        let mut owners = Vec::new();
        let mut scripts = HashMap::new();
        for (number, texts) in documents.into_iter().enumerate() {
            let mut counts = Counts::default();
            if let Some(script) = main_script(&texts.join("\n")) {
                *scripts.entry(script).or_default() += 1;
            }
            for speech in Speech::sentences(texts.into_iter().flat_map(sentences)) {
                let mut keys = Counts::default();
                for unit in units(&speech.tokens, |i| speech.bears_topic(i)) {
                    for feature in unit.features {
                        *counts.entry(feature).or_default() += 1.0;
                    }
                    for key in unit.keys {
                        *keys.entry(key).or_default() += 1.0;
                    }
                }
                parts.push(keys);
                owners.push(number as u32);
            }
            whole.push(counts);
        }
        Index {
            len: whole.len(),
            documents: Postings::new(whole),
            sentences: Postings::new(parts),
            owners,
            scripts,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of documents that a text of this script can be about, at least [`SMALLEST`]. Every word of a language is
    /// rare among documents in other scripts, which makes none of them telling.
    fn among(&self, script: Option<Script>) -> usize {
        let same = script.and_then(|script| self.scripts.get(&script));
        same.copied().unwrap_or(0).max(SMALLEST)
    }

    /// Inverse document frequency among all documents, nats.
    fn rarity(&self, feature: u64) -> f32 {
        self.rarity_among(feature, self.len.max(SMALLEST))
    }

    /// The same where only so many documents count.
    fn rarity_among(&self, feature: u64, documents: usize) -> f32 {
        let holding = self.documents.of(feature).len();
        let others = documents.saturating_sub(holding) as f32;
        (1.0 + (others + 0.5) / (holding as f32 + 0.5)).ln()
    }

    /// The information of a unit among so many documents, nats, from the mean of its features' rarity.
    pub fn information(&self, unit: &Unit, documents: usize) -> f32 {
        let rarity = |f: &u64| self.rarity_among(*f, documents);
        let sum: f32 = unit.features.iter().map(rarity).sum();
        unit.words * sum / unit.features.len().max(1) as f32
    }

    /// The share of a unit that the document holds, by the rarity of its features.
    pub fn share(&self, unit: &Unit, document: usize) -> f32 {
        let holds = |feature: &u64| {
            let texts = self.documents.of(*feature);
            texts
                .binary_search_by_key(&(document as u32), |(d, _)| *d)
                .is_ok()
        };
        let (mut held, mut all) = (0.0, 0.0);
        for feature in &unit.features {
            let rarity = self.rarity(*feature);
            all += rarity;
            if holds(feature) {
                held += rarity;
            }
        }
        let share = if all > 0.0 { held / all } else { 0.0 };
        match unit.beginning.as_ref().is_some_and(holds) {
            true => share.max(INFLECTED),
            false => share,
        }
    }

    /// Looks up the units of a question that is written in this script.
    pub fn find(&self, asked: &[Asked], script: Option<Script>) -> Hits {
        let among = self.among(script);
        let mut score = vec![0.0f32; self.len];
        let mut held = score.clone();
        let mut sentence = vec![0.0f32; self.owners.len()];
        let mut all = 0.0;
        for one in asked {
            let (mut found, mut sum) = (vec![0.0f32; self.len], 0.0);
            for feature in &one.unit.features {
                let rarity = self.rarity(*feature);
                sum += rarity;
                for (document, value) in self.documents.of(*feature) {
                    score[*document as usize] += one.weight * rarity * value;
                    found[*document as usize] += rarity;
                }
            }
            for key in &one.unit.keys {
                let rarity = self.rarity(*key);
                for (at, value) in self.sentences.of(*key) {
                    sentence[*at as usize] += one.weight * rarity * value;
                }
            }
            let information = one.evidence * self.information(&one.unit, among);
            all += information;
            if information <= 0.0 {
                continue;
            }
            for (document, _) in one
                .unit
                .beginning
                .iter()
                .flat_map(|b| self.documents.of(*b))
            {
                let found = &mut found[*document as usize];
                *found = found.max(INFLECTED * sum);
            }
            for (document, found) in found.iter().enumerate() {
                held[document] += information * found / sum.max(f32::MIN_POSITIVE);
            }
        }
        let mut best = vec![0.0f32; self.len];
        for (owner, score) in self.owners.iter().zip(&sentence) {
            let best = &mut best[*owner as usize];
            *best = best.max(*score);
        }
        let hits = (0..self.len).filter(|i| score[*i] > 0.0).map(|i| Hit {
            document: i,
            score: score[i] + SENTENCE * best[i],
            held: held[i],
        });
        Hits {
            hits: hits.collect(),
            asked: all,
            among,
        }
    }
}

impl Hits {
    /// The document with the highest score. Among equals the newest wins, since it may correct an older one.
    pub fn best(&self) -> Option<&Hit> {
        let by_score =
            |a: &&Hit, b: &&Hit| (a.score.total_cmp(&b.score)).then(a.document.cmp(&b.document));
        self.hits.iter().max_by(by_score)
    }

    pub fn of(&self, document: usize) -> Option<&Hit> {
        self.hits.iter().find(|h| h.document == document)
    }
}

impl Postings {
    fn new(texts: Vec<Counts>) -> Self {
        let lengths: Vec<f32> = texts.iter().map(|t| t.values().sum()).collect();
        let mean = lengths.iter().sum::<f32>() / lengths.len().max(1) as f32;
        let mut lists: ByFeature<Vec<(u32, f32)>> = ByFeature::default();
        for (number, (text, length)) in texts.into_iter().zip(lengths).enumerate() {
            let long = length / mean.max(1.0);
            for (feature, count) in text {
                let weight = count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * long));
                let list = lists.entry(feature).or_default();
                list.push((number as u32, weight));
            }
        }
        let mut postings = Postings::default();
        for (feature, list) in lists {
            let start = postings.entries.len() as u32;
            postings.entries.extend(&list);
            let place = (start, start + list.len() as u32);
            postings.places.insert(feature, place);
        }
        postings
    }

    fn of(&self, feature: u64) -> &[(u32, f32)] {
        match self.places.get(&feature) {
            Some((start, end)) => &self.entries[*start as usize..*end as usize],
            None => &[],
        }
    }
}
