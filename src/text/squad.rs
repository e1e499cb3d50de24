//! Words as SQuAD's evaluation script counts them (Rajpurkar et al. 2016, `evaluate-v1.1.py`): lower case, punctuation
//! deleted, articles dropped, split at white space.
//!
//! Beyond the script, which knows English in ASCII: punctuation of all scripts is deleted, scripts without spaces are
//! cut into words, and numbers keep their sign and point, so that 1.5 is not 15.

use super::characters::{is_punctuation, is_unspaced};
use super::normal::normal;
use super::number;
use super::scan::{Hyphens, scan};

/// The words of `text`, articles among them: in which language they are some is the caller's to know.
pub fn words(text: &str) -> Vec<String> {
    let normal = normal(text);
    let chars: Vec<char> = normal.chars().collect();
    let mut kept = String::with_capacity(normal.len());
    let mut at = 0;
    while at < chars.len() {
        let before = at.checked_sub(1).map(|i| chars[i]);
        match number_at(&chars, at, before) {
            Some((number, length)) => {
                kept.push_str(&number);
                at += length;
            }
            None => {
                // 5 ‰ is not 5 %, which is 5 to the script.
                if !is_punctuation(chars[at]) || chars[at] == '‰' {
                    kept.push(chars[at]);
                }
                at += 1;
            }
        }
    }
    kept.split_whitespace().flat_map(cut).collect()
}

pub fn is_article(word: &str) -> bool {
    matches!(word, "a" | "an" | "the")
}

/// A number in the middle of a word (`b12`, `covid-19`) is letters and digits like any other.
fn number_at(chars: &[char], at: usize, before: Option<char>) -> Option<(String, usize)> {
    let free = before.is_none_or(|c| {
        c.is_whitespace() || matches!(c, '(' | '[' | '"' | '$' | '£' | '€' | '~') || is_unspaced(c)
    });
    let begins = matches!(chars[at], '-' | '.') || chars[at].is_ascii_digit();
    (free && begins)
        .then(|| number::read(&chars[at..], false))
        .flatten()
}

fn cut(chunk: &str) -> Vec<String> {
    match chunk.chars().any(is_unspaced) {
        false => vec![chunk.to_owned()],
        true => scan(chunk, Hyphens::Split)
            .into_iter()
            .map(|t| t.text)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn english_as_the_script_has_it() {
        assert_eq!(
            words("The  Quick, brown-fox!"),
            ["the", "quick", "brownfox"]
        );
        assert_eq!(
            words("Orr's cat; the 4,200 metres."),
            ["orrs", "cat", "the", "4200", "metres"]
        );
        assert_eq!(words("U.S. $5 5%"), ["us", "5", "5"]);
        assert_eq!(words("1914-1918"), ["19141918"]);
    }

    #[test]
    fn numbers_keep_what_makes_them() {
        assert_eq!(
            words("-7 7 1.5 15 7:30 730"),
            ["-7", "7", "1.5", "15", "7:30", "730"]
        );
    }

    #[test]
    fn other_scripts() {
        assert_eq!(words("“Blue Whale”"), ["blue", "whale"]);
        assert_eq!(words("أوريل؟"), ["أوريل"]);
        assert_eq!(words("1387年。"), ["1387", "年"]);
        assert_eq!(words("il a an"), ["il", "a", "an"]);
    }
}
