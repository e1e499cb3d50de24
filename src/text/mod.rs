//! Text in any language: normal forms, words, numbers, sentences, the language itself.
//!
//! Segmentation is Unicode's (UAX #29), with ICU4X's dictionaries for scripts that put no space between words. This
//! room knows strings alone; what a word or a sentence is used for is decided above.

pub mod articles;
pub mod characters;
pub mod language;
pub mod normal;
mod number;
mod quantity;
pub mod scan;
pub mod script;
pub mod sentences;
pub mod squad;
pub mod syllables;
pub mod words;
