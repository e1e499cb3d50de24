//! How a long text is cut into parts.

use super::{Part, parts, parts_within};

fn path(part: &Part) -> Vec<&str> {
    part.path.iter().map(String::as_str).collect()
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

const MANUAL: &str = "Read this first.\n\n# Manual\n\nFor the pump.\n\n## Safety\n\n### Fuses\n\nFive ampere.\n\n\
    ### Cables\n\nGreen ones.\n\nCare\n----\n\nOil it.\n\n# Index\n";

#[test]
fn every_heading_with_text_is_a_part() {
    let found = parts(MANUAL);
    let seen: Vec<(Vec<&str>, &str)> = found.iter().map(|p| (path(p), p.text.as_str())).collect();
    assert_eq!(
        seen,
        [
            (vec![], "Read this first."),
            (vec!["Manual"], "For the pump."),
            (vec!["Manual", "Safety", "Fuses"], "Five ampere."),
            (vec!["Manual", "Safety", "Cables"], "Green ones."),
            (vec!["Manual", "Care"], "Oil it."),
        ]
    );
    assert!(parts("").is_empty() && parts("# Only\n\n## headings\n").is_empty());
    assert_eq!(parts("Plain.\n")[0].text, "Plain.");
}

#[test]
fn headings_are_those_of_commonmark() {
    let text = "    # indented code\n\n```\n# fenced\n~~~\n```\n\n> # quoted\n\n- # in a list\n\n<div>\n# html\n</div>\n\n\
        \\# escaped\n\n#hashtag\n\n####### seven\n\n\
        A *long* [real](x) `title` &amp; more\n===\n\none\n\n## Closed ## \n\ntwo\n\n#\n\n## Fuses {#fuses .wide}\n\nthree";
    let found: Vec<String> = parts(text)
        .iter()
        .filter_map(|p| p.path.last().cloned())
        .collect();
    assert_eq!(found, ["A long real title & more", "Closed", "Fuses"]);
    let windows = parts("# A\r\n\r\na\r\n\r\nB\r\n===\r\n\r\nb\r\n");
    assert_eq!(
        (windows[1].path.as_slice(), windows[1].text.as_str()),
        (["B".to_owned()].as_slice(), "b")
    );
}

#[test]
fn small_neighbours_stay_together_and_large_ones_are_divided() {
    let whole = parts_within(MANUAL, 100, &words);
    assert_eq!(whole.len(), 1);
    assert!(whole[0].path.is_empty() && whole[0].text.contains("# Manual"));

    let found = parts_within(MANUAL, 11, &words);
    assert!(found.iter().all(|p| words(&p.text) <= 11), "{found:?}");
    let safety = found
        .iter()
        .find(|p| p.text.contains("Five ampere."))
        .unwrap();
    assert_eq!(path(safety), ["Manual", "Safety"]);
    assert!(safety.text.contains("### Cables") && !safety.text.contains("## Safety\n"));
    for fact in [
        "Read this first.",
        "For the pump.",
        "Five ampere.",
        "Green ones.",
        "Oil it.",
    ] {
        assert_eq!(
            found.iter().filter(|p| p.text.contains(fact)).count(),
            1,
            "{fact}"
        );
    }
}

#[test]
fn a_long_section_is_cut_between_blocks_lines_sentences_and_words() {
    let paragraph = |nth: usize| format!("Paragraph {nth} has exactly six words.");
    let text: Vec<String> = (0..50).map(paragraph).collect();
    let found = parts_within(&format!("# Long\n\n{}", text.join("\n\n")), 20, &words);
    assert_eq!(found.len(), 17);
    assert!(
        found
            .iter()
            .all(|p| path(p) == ["Long"] && words(&p.text) <= 20)
    );
    assert!(
        found[0]
            .text
            .ends_with("Paragraph 2 has exactly six words.")
    );

    let sentences = parts_within(&text.join(" "), 20, &words);
    assert!(
        sentences
            .iter()
            .all(|p| p.text.ends_with("words.") && words(&p.text) <= 20)
    );
    let again: Vec<&str> = sentences.iter().map(|p| p.text.as_str()).collect();
    assert_eq!(again.join(" "), text.join(" "));

    let endless = "word ".repeat(100);
    assert!(
        parts_within(&endless, 7, &words)
            .iter()
            .all(|p| words(&p.text) <= 7)
    );
    let chinese = "灯塔由奥尔建造于一九一一年。".repeat(40);
    let bytes = |text: &str| text.len();
    let found = parts_within(&chinese, 100, &bytes);
    assert!(
        found
            .iter()
            .all(|p| p.text.len() <= 100 && p.text.ends_with('。')),
        "{found:?}"
    );
    let unbroken = "漢".repeat(500);
    let found = parts_within(&unbroken, 100, &bytes);
    assert!(found.iter().all(|p| p.text.len() <= 100));
    assert_eq!(
        found.iter().map(|p| p.text.chars().count()).sum::<usize>(),
        500
    );
}

#[test]
fn a_manual_of_forty_pages_is_cut_in_moments_and_loses_nothing() {
    let mut text = String::from("# Pump manual\n\nPreface.\n");
    for chapter in 1..=8 {
        text.push_str(&format!("\n## Chapter {chapter}\n"));
        for section in 1..=5 {
            text.push_str(&format!("\n### Section {chapter}.{section}\n\n"));
            for fact in 0..30 {
                text.push_str(&format!(
                    "Valve {chapter}-{section}-{fact} opens at {fact} bar and closes again.\n"
                ));
            }
        }
    }
    let found = parts_within(&text, 200, &words);
    assert!((40..=100).contains(&found.len()), "{}", found.len());
    assert!(
        found
            .iter()
            .all(|p| words(&p.text) <= 200 && path(p)[0] == "Pump manual" || p.path.is_empty())
    );
    let together: String = found
        .iter()
        .map(|p| p.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(together.matches("Valve ").count(), 8 * 5 * 30);
    let last = found.last().unwrap();
    assert_eq!(path(last), ["Pump manual", "Chapter 8", "Section 8.5"]);
    assert_eq!(
        last.title("Pump manual", 300),
        "Pump manual > Chapter 8 > Section 8.5"
    );
}

#[test]
fn a_part_has_a_title_of_bounded_length() {
    let part = |path: &[&str]| Part {
        path: path.iter().map(|title| (*title).to_owned()).collect(),
        text: "x".into(),
    };
    assert_eq!(part(&[]).title("Doc", 300), "Doc");
    assert_eq!(part(&["doc", "A"]).title("Doc", 300), "Doc > A");
    assert_eq!(part(&["Other", "A"]).title("Doc", 300), "Doc > Other > A");
    let long = part(&["M".repeat(200).as_str(), "Fuses"]).title("Doc", 50);
    assert_eq!(long, "Doc > Fuses");
    let longer = part(&["F".repeat(200).as_str()]).title("Doc", 50);
    assert_eq!(longer.chars().count(), 50);
    assert!(longer.starts_with('…') && longer.ends_with("FF"));
}
