//! The units of a question, each with its weights.

use super::common::is_common;
use super::speech::Speech;
use super::terms::{Unit, units};
use crate::text::scan::Kind;

/// A unit of a question.
pub struct Asked {
    pub unit: Unit,
    /// Its weight in the choice among documents.
    pub weight: f32,
    /// Its weight in the decision whether the question is about a document at all; 0 for function words.
    pub evidence: f32,
    pub is_name: bool,
}

/// The weight of a name beside that of another word with a topic.
const NAME: f32 = 1.5;
/// The weight of a function word.
const FUNCTION: f32 = 0.1;
/// The evidence in a word of general questions, or in a long number, beside that in another word.
const COMMON: f32 = 0.5;
/// The evidence in a number of one or two digits.
const SMALL_NUMBER: f32 = 0.2;

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Name,
    Common,
    SmallNumber,
    Topic,
    Function,
}

/// The units of a question. Unspaced words of one class that stand together are one unit.
pub fn asked(speech: &Speech) -> Vec<Asked> {
    let class = |i: usize| {
        let token = &speech.tokens[i];
        if !speech.bears_topic(i) {
            Class::Function
        } else if speech.names[i] {
            Class::Name
        } else if token.kind == Kind::Number && token.text.len() <= 2 {
            Class::SmallNumber
        } else if token.kind == Kind::Number || is_common(&token.text) {
            Class::Common
        } else {
            Class::Topic
        }
    };
    let classes: Vec<Class> = (0..speech.tokens.len()).map(class).collect();
    let mut asked = Vec::new();
    for (class, weight, evidence) in [
        (Class::Topic, 1.0, 1.0),
        (Class::Common, 1.0, COMMON),
        (Class::SmallNumber, 1.0, SMALL_NUMBER),
        (Class::Name, NAME, 1.0),
        (Class::Function, FUNCTION, 0.0),
    ] {
        for mut unit in units(&speech.tokens, |i| classes[i] == class) {
            if class == Class::Function {
                unit.features.truncate(1);
            }
            asked.push(Asked {
                unit,
                weight,
                evidence,
                is_name: class == Class::Name,
            });
        }
    }
    asked
}
