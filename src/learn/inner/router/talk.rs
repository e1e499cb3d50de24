//! Conversations. A turn that names a document is about it. A turn that says little by itself goes on about the subject
//! of the turn before. A turn with a subject of its own that fits no document is about none, and so are thanks. After a
//! turn that was hardly about another subject, the document is still what a short turn is about.
//!
//! The choice is a function of the messages alone, so the same conversation is always routed alike.

use super::asked::{Asked, asked};
use super::lexicon::Role;
use super::speech::Speech;
use super::{Router, evidence};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// The messages of a request that a router reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    turns: Vec<Turn>,
}

#[derive(Debug, Clone, PartialEq)]
struct Turn {
    is_user: bool,
    text: String,
}

impl Conversation {
    /// A single question.
    pub fn question(text: &str) -> Self {
        Conversation::new([("user", text)])
    }

    /// Messages as (role, text), the oldest first. Only turns of `user` and `assistant` are read: a system message is
    /// the same for every request of an application.
    pub fn new<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let spoken = |role: &str| matches!(role, "user" | "assistant");
        let turns = messages.into_iter().filter(|(role, _)| spoken(role));
        let turn = |(role, text): (&str, &str)| Turn {
            is_user: role == "user",
            text: text.to_owned(),
        };
        Conversation {
            turns: turns.map(turn).collect(),
        }
    }
}

/// The most user turns that are read, from the end.
const TURNS: usize = 8;
/// The most bytes of a turn that are read: its beginning and its end.
const LONGEST: usize = 4000;

/// What speaks for a document that the talk was about before, log-odds.
const SPOKEN_OF: f32 = 1.0;
/// The same where the turn says that it goes back.
const GONE_BACK_TO: f32 = 2.5;

/// What speaks for a document that is new to a talk about another.
const NEW: f32 = -1.5;

/// The subject of the talk.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Subject {
    Nothing,
    Document(usize),
    /// Something that no document tells of.
    General,
}

/// A conversation so far.
struct Talk<'r> {
    router: &'r Router,
    subject: Subject,
    /// The document that the talk was last about, where it may still be, with the log-odds of that.
    left: Option<(usize, f32)>,
    /// The documents that it was about.
    spoken_of: BTreeSet<usize>,
    /// The features of what was said on the subject.
    said: HashSet<u64>,
}

/// The document that the last user turn is about.
pub fn route(router: &Router, conversation: &Conversation) -> Option<usize> {
    let turns = &conversation.turns;
    let users = turns.iter().enumerate().filter(|(_, t)| t.is_user);
    let (first, _) = users.rev().take(TURNS).last()?;
    let mut talk = Talk {
        router,
        subject: Subject::Nothing,
        left: None,
        spoken_of: BTreeSet::new(),
        said: HashSet::new(),
    };
    let mut chosen = None;
    for turn in &turns[first..] {
        let text = short(&turn.text);
        match turn.is_user {
            true => chosen = talk.hear(&text),
            false => talk.remember(&asked(&Speech::new(&text))),
        }
    }
    chosen
}

impl Talk<'_> {
    /// Takes up a user's turn. Returns the document that the turn is about.
    fn hear(&mut self, text: &str) -> Option<usize> {
        let speech = Speech::new(text);
        if speech.is_social(text) {
            return None;
        }
        let asked = asked(&speech);
        let named = self.named(&speech, &asked);
        let goes_on = match self.subject {
            Subject::Document(now) if speech.has(Role::RETURN) => Some((now, 0.0)),
            Subject::Document(now) => Some((now, self.goes_on(&speech, &asked, now))),
            _ => self.left.map(|(document, doubt)| {
                let goes_on = self.goes_on(&speech, &asked, document);
                (document, goes_on + doubt)
            }),
        };
        let chosen = match (goes_on, named) {
            (Some((now, goes_on)), Some((other, names))) if goes_on > names && other != now => {
                Some(now)
            }
            (_, Some((document, _))) => Some(document),
            (Some((now, goes_on)), None) if goes_on > 0.0 => Some(now),
            _ => None,
        };
        self.left = match chosen {
            Some(_) => None,
            None => goes_on,
        };
        let subject = chosen.map_or(Subject::General, Subject::Document);
        if subject != self.subject {
            self.said.clear();
        }
        self.subject = subject;
        self.spoken_of.extend(chosen);
        self.remember(&asked);
        chosen
    }

    /// The document that the turn names by its own words, with the log-odds that it is about this document.
    fn named(&self, speech: &Speech, asked: &[Asked]) -> Option<(usize, f32)> {
        let hits = self.router.index.find(asked, speech.script);
        let goes_back = speech.has(Role::RETURN);
        let log_odds = |document: usize| {
            let hit = hits.of(document)?;
            let is_talk = matches!(self.subject, Subject::Document(_));
            let spoken_of = match (self.spoken_of.contains(&document), goes_back) {
                (true, true) => GONE_BACK_TO,
                (true, false) => SPOKEN_OF,
                (false, _) if is_talk => NEW,
                (false, _) => 0.0,
            };
            let by_itself = self.router.log_odds(asked, &hits, hit);
            Some((document, by_itself + spoken_of))
        };
        let best = hits.best().map(|h| h.document);
        let candidates = self.spoken_of.iter().copied().chain(best);
        let named = candidates.filter_map(log_odds);
        let named = named.max_by(|a, b| a.1.total_cmp(&b.1));
        named.filter(|(_, log_odds)| *log_odds > 0.0)
    }

    /// The log-odds that the turn goes on about the document that the talk is about.
    fn goes_on(&self, speech: &Speech, asked: &[Asked], document: usize) -> f32 {
        // After another subject these words point to that.
        let is_general = self.subject == Subject::General;
        let mut bearing = evidence::Bearing {
            points_back: speech.has(Role::ANAPHORA) && !is_general,
            opens: speech.opens_with(Role::OPENER) && !is_general,
            ..Default::default()
        };
        for one in asked.iter().filter(|a| a.evidence > 0.0) {
            let features = &one.unit.features;
            let said = features.iter().filter(|f| self.said.contains(f)).count();
            let said = said as f32 / features.len().max(1) as f32;
            let known = self.router.index.share(&one.unit, document).max(said);
            bearing.known += one.unit.words * known;
            bearing.unknown += one.unit.words * (1.0 - known);
            if one.is_name {
                bearing.unknown_names += one.unit.words * (1.0 - known);
            }
        }
        bearing.log_odds()
    }

    fn remember(&mut self, units: &[Asked]) {
        let topics = units.iter().filter(|a| a.evidence > 0.0);
        self.said.extend(topics.flat_map(|a| &a.unit.features));
    }
}

/// The beginning and the end of a text that is longer than [`LONGEST`].
fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let at = |mut i: usize| {
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let (head, tail) = (at(LONGEST / 2), at(text.len() - LONGEST / 2));
    format!("{} {}", &text[..head], &text[tail..]).into()
}
