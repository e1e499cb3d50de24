//! From a text in normal form to tokens: words, numbers, and signs such as `%`.

use super::characters::{is_mark, is_unspaced, is_wordy};
use super::number;
use super::quantity::{east_asian_magnitude, follows, magnitude, sign, unit};
use super::syllables::without_particle;
use super::words::borders;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// A number in canonical spelling.
    Number,
    /// A word of a script without spaces: nothing stands between it and its neighbours.
    Unspaced,
    /// A sign that a number bears: `%`, `$`.
    Sign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub kind: Kind,
}

/// How to read a hyphen or an apostrophe within a word. Writers differ (`e-mail`, `email`), so texts are compared in
/// both readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hyphens {
    /// `blue-green` is two words.
    Split,
    /// `e-mail` is one word, `email`.
    Joined,
}

/// The tokens of a text in normal form ([`super::normal::normal`]).
pub fn scan(normal: &str, hyphens: Hyphens) -> Vec<Token> {
    let text: Vec<char> = normal.chars().collect();
    let mut scanner = Scanner {
        text: &text,
        at: 0,
        hyphens,
        tokens: Vec::new(),
    };
    while scanner.at < text.len() {
        scanner.step();
    }
    scanner.tokens
}

struct Scanner<'a> {
    text: &'a [char],
    at: usize,
    hyphens: Hyphens,
    tokens: Vec<Token>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let c = self.text[self.at];
        if is_unspaced(c) {
            self.unspaced();
        } else if self.number_begins() {
            self.number();
        } else if c.is_alphanumeric() {
            self.word();
        } else {
            if let Some(sign) = sign(c.encode_utf8(&mut [0; 4])) {
                self.push(sign, Kind::Sign);
            }
            self.at += 1;
        }
    }

    fn push(&mut self, text: impl Into<String>, kind: Kind) {
        self.tokens.push(Token {
            text: text.into(),
            kind,
        });
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// A digit, or a sign or point before one that belongs to no word or number before it.
    fn number_begins(&self) -> bool {
        let is_digit = |ahead| self.peek(ahead).is_some_and(|c: char| c.is_ascii_digit());
        let free = self.at.checked_sub(1).is_none_or(|i| {
            let before = self.text[i];
            !is_wordy(before) && !matches!(before, ')' | '.' | '-')
        });
        match self.text[self.at] {
            '-' | '+' => free && is_digit(1),
            // A typographer's minus; between numbers the same dash is a range.
            '–' => free && is_digit(1) && !self.after_number(),
            '.' => free && is_digit(1),
            c => c.is_ascii_digit(),
        }
    }

    fn after_number(&self) -> bool {
        self.tokens.last().is_some_and(|t| t.kind == Kind::Number)
    }

    fn number(&mut self) {
        let dash = self.text[self.at] == '–';
        let minus = self.says_minus();
        let begin = self.at + usize::from(dash);
        let Some((mut number, length)) = number::read(&self.text[begin..], true) else {
            self.at += 1;
            return;
        };
        if (dash || minus) && !number.starts_with('-') {
            number.insert(0, '-');
        }
        if minus {
            self.tokens.pop();
        }
        self.at = begin + length;
        while let Some(power) = self.peek(0).and_then(east_asian_magnitude) {
            let Some(product) = number::times_ten(&number, power) else {
                break;
            };
            number = product;
            self.at += 1;
        }
        // `40km` is 40 km; `1990s` and `1st` are words of their own.
        let letters = self.text[self.at..].iter();
        let letters: String = letters
            .take_while(|c| is_wordy(**c) && !is_unspaced(**c))
            .collect();
        if letters.is_empty()
            || unit(&letters).is_some_and(|u| u != "s")
            || sign(&letters).is_some()
            || magnitude(&letters).is_some()
            || matches!(letters.as_str(), "am" | "pm")
        {
            let sign = self.sign_before(begin);
            self.push(number, Kind::Number);
            self.tokens.extend(sign);
        } else {
            self.at += letters.chars().count();
            self.push(number + &letters, Kind::Word);
        }
    }

    /// Takes the sign that stands against the number at `begin`, before it, and would stand behind it elsewhere: Turkish
    /// writes %5. Behind another number it belongs to that one.
    fn sign_before(&mut self, begin: usize) -> Option<Token> {
        let [before @ .., last] = &self.tokens[..] else {
            return None;
        };
        let against = begin > 0 && self.text[begin - 1].to_string() == last.text;
        let free = before.last().is_none_or(|t| t.kind != Kind::Number);
        let taken = against && free && last.kind == Kind::Sign && follows(&last.text);
        taken.then(|| self.tokens.pop()).flatten()
    }

    /// The word before a number is "minus".
    fn says_minus(&self) -> bool {
        let spaced = self.at > 0 && self.text[self.at - 1] == ' ';
        spaced
            && self
                .tokens
                .last()
                .is_some_and(|t| matches!(t.text.as_str(), "minus" | "минус"))
    }

    fn word(&mut self) {
        let mut word = String::new();
        let mut part = 0;
        while let Some(c) = self.peek(0) {
            if is_wordy(c) && !is_unspaced(c) {
                word.push(c);
                part += 1;
                self.at += 1;
                continue;
            }
            let next = self.peek(1).filter(|c| is_wordy(*c) && !is_unspaced(*c));
            let goes_on = match c {
                // U.S., p.m.
                '.' => part == 1 && next.is_some() && self.letter_alone(1),
                '\'' => next.is_some() && self.apostrophe(&mut word),
                '-' | '‐' | '‑' => {
                    self.hyphens == Hyphens::Joined && next.is_some_and(|c| !c.is_ascii_digit())
                }
                _ => false,
            };
            if !goes_on {
                break;
            }
            part = 0;
            self.at += 1;
        }
        self.finish(word);
    }

    /// The letter `ahead` stands alone, between marks.
    fn letter_alone(&self, ahead: usize) -> bool {
        !self.peek(ahead + 1).is_some_and(is_wordy)
    }

    /// Whether the word goes on after an apostrophe. A possessive 's is passed over.
    fn apostrophe(&mut self, word: &mut str) -> bool {
        let after = &self.text[self.at + 1..];
        let rest: String = after.iter().take_while(|c| is_wordy(**c)).collect();
        match rest.as_str() {
            "s" => {
                self.at += 2;
                false
            }
            // don't, we've, they'll
            "t" | "ve" | "ll" | "re" | "d" | "m" => true,
            // l'eau is two words, O'Neill maybe one.
            _ => self.hyphens == Hyphens::Joined || word.is_empty(),
        }
    }

    fn finish(&mut self, word: String) {
        if self.after_number() {
            if let Some(power) = magnitude(&word) {
                let number = self.tokens.last_mut().expect("a number is the last token");
                if let Some(product) = number::times_ten(&number.text, power) {
                    number.text = product;
                    return;
                }
            }
            if let Some(sign) = sign(&word) {
                return self.push(sign, Kind::Sign);
            }
            if let Some(unit) = unit(&word) {
                return self.push(unit, Kind::Word);
            }
        }
        if let Some(sign) = self.sign_in_two_words(&word) {
            self.tokens.pop();
            return self.push(sign, Kind::Sign);
        }
        let word = without_particle(&word).to_owned();
        self.push(word, Kind::Word);
    }

    /// The sign that `word` ends after a number and a word: 5 per cent.
    fn sign_in_two_words(&self, word: &str) -> Option<&'static str> {
        match &self.tokens[..] {
            [.., number, first] if number.kind == Kind::Number && first.kind == Kind::Word => {
                sign(&format!("{} {word}", first.text))
            }
            _ => None,
        }
    }

    /// A run of letters without spaces, cut into words by dictionary.
    fn unspaced(&mut self) {
        let run: String = self.text[self.at..]
            .iter()
            .take_while(|c| is_unspaced(**c) || is_mark(**c))
            .collect();
        self.at += run.chars().count();
        let borders = borders(&run);
        for pair in borders.windows(2) {
            let word = &run[pair[0]..pair[1]];
            match sign(word).filter(|_| self.after_number()) {
                Some(sign) => self.push(sign, Kind::Sign),
                None => self.push(word, Kind::Unspaced),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::normal::normal;

    fn tokens(text: &str) -> Vec<String> {
        let tokens = scan(&normal(text), Hyphens::Split).into_iter();
        tokens.map(|t| t.text).collect()
    }

    #[test]
    fn words_of_scripts_with_spaces() {
        assert_eq!(
            tokens("The U.S. sailed, didn't it?"),
            ["the", "us", "sailed", "didnt", "it"]
        );
        assert_eq!(
            tokens("Ann's blue-green boat"),
            ["ann", "blue", "green", "boat"]
        );
        assert_eq!(tokens("l'église d'Orr"), ["l", "église", "d", "orr"]);
        assert_eq!(tokens("Крейсер «Аврора»."), ["крейсер", "аврора"]);
        assert_eq!(tokens("7:30 p.m., 7pm"), ["7:30", "pm", "7", "pm"]);
        let joined = scan("e-mail o'neill covid-19", Hyphens::Joined).into_iter();
        let joined: Vec<String> = joined.map(|t| t.text).collect();
        assert_eq!(joined, ["email", "oneill", "covid", "19"]);
    }

    #[test]
    fn numbers_signs_and_units() {
        assert_eq!(tokens("1914–1918"), ["1914", "1918"]);
        assert_eq!(tokens("-5 to –7, minus 9"), ["-5", "to", "-7", "-9"]);
        assert_eq!(tokens("1.5 million, 15 million"), ["1500000", "15000000"]);
        assert_eq!(tokens("150万人"), ["1500000", "人"]);
        assert_eq!(
            tokens("40km, 40 kilometres, 5 %, $5"),
            ["40", "km", "40", "km", "5", "%", "$", "5"]
        );
        assert_eq!(
            tokens("the 1990s, 1st, B12"),
            ["the", "1990s", "1st", "b12"]
        );
        assert_eq!(tokens("a page-5 note"), ["a", "page", "5", "note"]);
        assert_eq!(tokens("4 200 m"), ["4200", "m"]);
        for percent in [
            "5 %",
            "5%",
            "٥٪",
            "５％",
            "5 percent",
            "5 per cent",
            "5percent",
            "%5",
            "5 Prozent",
            "5 pour cent",
            "5 процентов",
            "5パーセント",
            "5퍼센트",
            "5 بالمئة",
        ] {
            assert_eq!(tokens(percent), ["5", "%"], "{percent}");
        }
        assert_eq!(tokens("5 ‰, 7 per mille"), ["5", "‰", "7", "‰"]);
        assert_eq!(
            tokens("3 % 5, 20% per cent"),
            ["3", "%", "5", "20", "%", "per", "cent"]
        );
        assert_eq!(
            tokens("as per cent values"),
            ["as", "per", "cent", "values"]
        );
        assert_eq!(tokens("10², 102"), ["10", "2", "102"]);
    }

    #[test]
    fn words_of_scripts_without_spaces() {
        assert_eq!(
            tokens("町長はタムシン・オレルです。"),
            ["町長", "は", "タムシン", "オレル", "です"]
        );
        assert_eq!(tokens("该镇建于1387年。").join("|"), "该|镇|建|于|1387|年");
        assert!(tokens("นายกเทศมนตรีคือทัมซิน").len() > 2);
        assert_eq!(tokens("시장은 탐신 오렐입니다."), ["시장", "탐신", "오렐"]);
    }
}
