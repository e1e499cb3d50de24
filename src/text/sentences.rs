//! Splitting prose into sentences, well enough to write notes about each: the borders of UAX #29, less those that only
//! look like ends (abbreviations, initials, ordinals), and for scripts that mark no end the spaces between clauses.

use super::characters::{is_unspaced, script};
use super::language::Language;
use icu_properties::CodePointSetData;
use icu_properties::props::{Script, SentenceTerminal};
use icu_segmenter::SentenceSegmenter;
use icu_segmenter::options::SentenceBreakInvariantOptions;

/// Abbreviations after which a full stop ends no sentence, in the languages that write them most.
const ABBREVIATIONS: &str = "mr mrs ms dr prof st no nos vs etc e.g i.e approx fig figs jr sr inc ltd co corp gen col \
    lt sgt capt rev hon gov sen rep vol pp ed eds cf al ca dept est ave blvd mt \
    hr fr frl nr bzw usw z.b d.h u.a evtl ggf inkl bspw str geb gest abs art bd hl ing dipl mio mrd \
    mme mlle mm av env \
    sra srta dña avda núm tel pág ej ud uds \
    sig sig.ra dott avv \
    г гг ул пр д стр т.е т.д т.п т.к им тыс млн млрд руб проф акад др см напр \
    bv dhr mevr jl blz enz \
    bl tzn tzv atd apod např ul tzw np itd itp";

/// The sentences of `text`, trimmed, none empty. A line break ends a sentence too.
pub fn sentences(text: &str) -> Vec<&str> {
    text.lines().flat_map(split_line).collect()
}

/// What may follow the mark that ends a sentence.
pub const CLOSERS: [char; 18] = [
    '"', '\'', '”', '’', '“', '»', '›', '」', '』', '》', '】', ')', ']', '）', '*', '_', '`', ' ',
];

/// Whether the text ends as a sentence does: with a full stop, question or exclamation mark of any script, [`CLOSERS`]
/// aside. In scripts that mark no end every text does.
pub fn is_ended(text: &str) -> bool {
    let last = text.trim_end_matches(CLOSERS).chars().next_back();
    let terminal = CodePointSetData::new::<SentenceTerminal>();
    last.is_some_and(|c| terminal.contains(c) || marks_no_end(c))
}

/// Whether the letter is of Thai, Lao, Khmer or Burmese, where a space does what a full stop does elsewhere.
fn marks_no_end(c: char) -> bool {
    matches!(
        script(c),
        Script::Thai | Script::Lao | Script::Khmer | Script::Myanmar
    )
}

fn split_line(line: &str) -> Vec<&str> {
    let segmenter = SentenceSegmenter::new(SentenceBreakInvariantOptions::default());
    let mut found = Vec::new();
    let mut start = 0;
    for border in segmenter.segment_str(line).skip(1) {
        if border == line.len() || ends_sentence(&line[start..border], &line[border..]) {
            found.extend(clauses(line[start..border].trim()));
            start = border;
        }
    }
    found.retain(|s| s.chars().any(char::is_alphanumeric));
    found
}

/// Whether a sentence ends between the two, where UAX #29 has a border.
fn ends_sentence(before: &str, after: &str) -> bool {
    let Some(body) = before.trim_end().strip_suffix('.') else {
        return true;
    };
    let word = body.rsplit(char::is_whitespace).next().unwrap_or("");
    let word = word.trim_start_matches(['(', '[', '"', '\'', '“', '„', '«']);
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let digits = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    // `1.` begins a list item; `3. Oktober` is an ordinal.
    let alone = body.trim_start().len() == word.len();
    let ordinal = digits && (alone || (word.len() <= 2 && is_after_ordinal(after)));
    let lower = word.to_lowercase();
    let abbreviated =
        ABBREVIATIONS.split_whitespace().any(|a| a == lower) || is_abbreviated_pair(body, after);
    !(initial || ordinal || abbreviated || (is_acronym(word) && !begins_anew(after)))
}

/// `U.S`, without its last stop.
fn is_acronym(word: &str) -> bool {
    let single = |w: &str| w.chars().count() == 1 && w.chars().all(char::is_uppercase);
    word.contains('.') && word.split('.').all(single)
}

/// Whether what follows begins with a word that is capital only where a sentence begins.
fn begins_anew(after: &str) -> bool {
    let word = after.split_whitespace().next().unwrap_or("");
    Language::ENGLISH.is_function_word(word)
}

/// `z. B.`, `и т. д.`: single letters with stops, a border after either.
fn is_abbreviated_pair(body: &str, after: &str) -> bool {
    let single = |w: &str| w.chars().count() == 1 && w.chars().all(char::is_alphabetic);
    let stopped = |w: &str| w.strip_suffix('.').is_some_and(single);
    let mut before = body.rsplit(char::is_whitespace);
    if !before.next().is_some_and(single) {
        return false;
    }
    let next = after.split_whitespace().next();
    next.is_some_and(stopped) || before.next().is_some_and(stopped)
}

/// What follows an ordinal in the languages that write it with a stop: a month, a century.
fn is_after_ordinal(after: &str) -> bool {
    const FOLLOWERS: &str = "januar jänner februar märz april mai juni juli august september oktober november dezember \
        jahrhundert jahrhunderts jh jahr klasse stock etage auflage kapitel band marts maj oktober december \
        tammikuuta ledna února března dubna května června července srpna září října listopadu prosince století";
    let word: String = after
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphabetic())
        .collect();
    let lower = word.to_lowercase();
    FOLLOWERS.split_whitespace().any(|f| f == lower)
}

/// Letters on each side of a space that ends a clause in a script without full stops.
const CLAUSE: usize = 12;

/// The clauses of a sentence of Thai, Lao, Khmer or Burmese, where a space does what a full stop does elsewhere; any
/// other sentence whole.
fn clauses(sentence: &str) -> Vec<&str> {
    if !sentence.chars().any(|c| is_unspaced(c) && marks_no_end(c)) {
        return vec![sentence];
    }
    let mut left = sentence.chars().filter(|c| is_unspaced(*c)).count();
    let mut letters = 0;
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in sentence.char_indices() {
        if c == ' ' && letters >= CLAUSE && left >= CLAUSE {
            found.push(sentence[start..at].trim());
            (start, letters) = (at, 0);
        } else if is_unspaced(c) {
            letters += 1;
            left -= 1;
        }
    }
    found.push(sentence[start..].trim());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_any_script() {
        for whole in [
            "It is tall.",
            "He said \"no.\"",
            "(Why?)",
            "它很高。",
            "वह ऊँचा है।",
            "هل هو طويل؟",
            "Er sagte: „Nein.“",
            "ประภาคารสูงเก้าสิบเมตร",
        ] {
            assert!(is_ended(whole), "{whole}");
        }
        for cut in ["It is", "96 minutes", "for example (", ""] {
            assert!(!is_ended(cut), "{cut}");
        }
    }

    #[test]
    fn abbreviations_and_numbers_do_not_split() {
        let text = "Dr. J. Orr paid 3.50 crowns. He left! Why? Nobody (e.g. Ann) knows";
        let split = [
            "Dr. J. Orr paid 3.50 crowns.",
            "He left!",
            "Why?",
            "Nobody (e.g. Ann) knows",
        ];
        assert_eq!(sentences(text), split);
    }

    #[test]
    fn lines_split_and_blank_ones_vanish() {
        assert_eq!(sentences("One\n\n- two.\n---\n"), ["One", "- two."]);
        assert!(sentences(" \n").is_empty());
        assert_eq!(
            sentences("1. A ladder\n2. The hall"),
            ["1. A ladder", "2. The hall"]
        );
    }

    #[test]
    fn every_language_ends_its_sentences() {
        for (text, count) in [
            (
                "町の人口は六千人です。町長はオレルです。工場はふいごを作ります。",
                3,
            ),
            ("该镇建于1387年。镇长是谭欣！谁知道？", 3),
            ("Он родился в 1911 г. в Твери. Мэр города — Оррел.", 2),
            ("시장은 오렐입니다. 공장은 풀무를 만듭니다.", 2),
            ("यह एक नगर है। इसकी मेयर ओरेल हैं।", 2),
            ("هل هي العمدة؟ نعم. هي أوريل.", 3),
            (
                "Sie fährt seit dem 3. Oktober 1911. Dr. Größl wohnt z. B. Am Hafen.",
                2,
            ),
            ("M. Orr est venu. Il est parti.", 2),
            (
                "เมืองควิลเมียร์เป็นเมืองริมแม่น้ำมีประชากร6214คน นายกเทศมนตรีคือทัมซินออเรล",
                2,
            ),
            (
                "クイルミア町は人口六千二百人の川の町です。町長はタムシン・オレルです。町の唯一の工場はアコーディオンのふいごを作っています。",
                3,
            ),
            (
                "Квиллмер — речной город с населением 6214 человек. Мэр города — Тамсин Оррел. Единственная фабрика делает меха для аккордеонов.",
                3,
            ),
            (
                "퀼미어 마을은 인구 6214명의 강변 마을입니다. 시장은 탐신 오렐입니다. 유일한 공장은 아코디언 풀무를 만듭니다.",
                3,
            ),
            (
                "क्विलमीर नदी किनारे का एक नगर है। इसकी मेयर तमसिन ओरेल हैं। इसका एकमात्र कारखाना अकॉर्डियन की धौंकनी बनाता है।",
                3,
            ),
            (
                "Die Straßenbahn fährt seit 1911. Der Direktor Dr. Ümit Größl wohnt im Depot. Sie hält z. B. am Hafen.",
                3,
            ),
            ("“It stays.” Nobody spoke.", 2),
            ("The U.S. Navy came. It left.", 2),
            ("He went to the U.S. The boat stayed.", 2),
        ] {
            assert_eq!(sentences(text).len(), count, "{:?}", sentences(text));
        }
    }
}
