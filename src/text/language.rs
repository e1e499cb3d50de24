//! The language of a text, by trigrams and alphabets (whatlang), and the words of a language that no answer consists of.

use super::normal::normal;
use super::script::{Script, main_script};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use whatlang::Lang;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(Lang);

impl Language {
    pub const ENGLISH: Language = Language(Lang::Eng);

    /// The language of `text`; `None` where too little is written to tell. A language that has a script to itself is
    /// told by that script.
    pub fn of(text: &str) -> Option<Language> {
        let script = main_script(text)?;
        let by_script = match script {
            Script::Hiragana => Some(Lang::Jpn),
            Script::Han => Some(Lang::Cmn),
            Script::Hangul => Some(Lang::Kor),
            Script::Thai => Some(Lang::Tha),
            Script::Greek => Some(Lang::Ell),
            _ => None,
        };
        if let Some(lang) = by_script {
            return Some(Language(lang));
        }
        // Dozens of languages share the Latin letters, and a guess among them is worth little; other scripts have few.
        let info = whatlang::detect(text)?;
        (info.is_reliable() || script != Script::Latin).then(|| Language(info.lang()))
    }

    /// The English name, for prompts.
    pub fn name(self) -> &'static str {
        match self.0 {
            Lang::Cmn => "Chinese",
            Lang::Pes => "Persian",
            lang => lang.eng_name(),
        }
    }

    /// Whether `word` bears no topic: an article, a pronoun, a preposition.
    pub fn is_function_word(self, word: &str) -> bool {
        let word = normal(word);
        match self.0 {
            Lang::Eng => ENGLISH.binary_search(&word.as_str()).is_ok(),
            lang => iso_code(lang).is_some_and(|code| NORMAL[code].contains(&word)),
        }
    }
}

/// The words that no question is about in the language with this two-letter code; none where no list is known.
pub fn function_words(code: &str) -> &'static [&'static str] {
    if code == "en" {
        return &ENGLISH_QUESTIONS;
    }
    // Galician has a list, and no trigrams to be told by.
    let known = code == "gl" || Lang::all().iter().any(|lang| iso_code(*lang) == Some(code));
    if known { stop_words::get(code) } else { &[] }
}

/// The two-letter code of a language whose list of stop words is known.
fn iso_code(lang: Lang) -> Option<&'static str> {
    Some(match lang {
        Lang::Afr => "af",
        Lang::Ara => "ar",
        Lang::Ben => "bn",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Cmn => "zh",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Epo => "eo",
        Lang::Est => "et",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Guj => "gu",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Hrv => "hr",
        Lang::Hun => "hu",
        Lang::Hye => "hy",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Lat => "la",
        Lang::Lav => "lv",
        Lang::Lit => "lt",
        Lang::Mar => "mr",
        Lang::Nld => "nl",
        Lang::Nob => "no",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tgl => "tl",
        Lang::Tha => "th",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Vie => "vi",
        Lang::Zul => "zu",
        _ => return None,
    })
}

/// The lists of all languages in normal form, which has no points and no final sigma.
static NORMAL: LazyLock<HashMap<&str, HashSet<String>>> = LazyLock::new(|| {
    let codes = Lang::all().iter().filter_map(|lang| iso_code(*lang));
    let words = |code| {
        stop_words::get(code)
            .iter()
            .map(|word| normal(word))
            .collect()
    };
    codes.map(|code| (code, words(code))).collect()
});

static ENGLISH: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut words: Vec<&str> = ENGLISH_FUNCTION_WORDS.split_whitespace().collect();
    words.sort_unstable();
    words
});

static ENGLISH_QUESTIONS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let talk = ENGLISH_TALK.split_whitespace();
    ENGLISH.iter().copied().chain(talk).collect()
});

/// English words that no answer consists of and no question is about. The list of Stopwords ISO holds words that bear a
/// topic, such as "case" and "system".
const ENGLISH_FUNCTION_WORDS: &str = "a about above after again against all almost along already also although always am among an and another \
    any anyone anything are around as at away back be because become becomes been before began being below \
    beneath beside between beyond both but by called came can cannot come comes could did do does doing done \
    down during each either else enough even ever every everything few first for former from further gave \
    get gets given go goes had has have having he hence her here hers herself him himself his how however i \
    if in inside instead into is it its itself just keep keeps kept known last later least less let lets \
    like made make makes many may me might more most much must my near nearly neither never next no nobody \
    none nor not nothing now of off often on once one only onto or other others our out outside over own per \
    perhaps please put quite rather said same says seen several shall she should since so some someone \
    something sometimes soon still such take taken takes than that the their theirs them themselves then \
    there therefore these they this those though through throughout thus to together too toward towards two \
    under unless until up upon us use used uses using usually very was we well went were what whatever when \
    whenever where whether which while who whoever whole whom whose why will with within without would yet \
    you your";

/// Words that people ask with. A question is not about them, but a phrase that is an answer may have them.
const ENGLISH_TALK: &str = "anybody arent cant couldnt didnt doesnt dont everyone find finds gives got happen happened happens i'm \
    id im isnt ive kind lot ours saw see somebody sort tell thats thing things want wasnt whats wont wouldnt \
    yours";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        for (text, name) in [
            ("町長はタムシンです", "Japanese"),
            ("该镇建于1387年", "Chinese"),
            ("시장은 누구입니까", "Korean"),
            (
                "Мэр города — Тамсин Оррел. Единственная фабрика делает меха для аккордеонов.",
                "Russian",
            ),
            (
                "Die Straßenbahn fährt seit 1911. Der Direktor wohnt im Depot am Hafen.",
                "German",
            ),
            (
                "Quillmere is a river town of six thousand people in the Aldous Hills.",
                "English",
            ),
        ] {
            assert_eq!(Language::of(text).map(Language::name), Some(name), "{text}");
        }
        assert_eq!(Language::of("1911"), None);
    }

    #[test]
    fn function_words() {
        let of = |text| Language::of(text).unwrap();
        assert!(Language::ENGLISH.is_function_word("The"));
        assert!(
            of("Die Straßenbahn fährt seit 1911. Der Direktor wohnt im Depot am Hafen.")
                .is_function_word("seit")
        );
        assert!(of("该镇建于1387年").is_function_word("的"));
        assert!(!of("该镇建于1387年").is_function_word("镇长"));
        assert!(of("Η πόλη της Άνδρου").is_function_word("ένας"));
    }

    /// A code that the list does not know would end the program.
    #[test]
    fn every_code_has_a_list() {
        for lang in Lang::all() {
            if let Some(code) = iso_code(*lang) {
                assert!(!stop_words::get(code).is_empty(), "{code}");
            }
        }
    }
}
