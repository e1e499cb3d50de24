//! Reading documents of each format.

use super::{Format, Reading, Unreadable, read};
use serde_json::json;
use std::io::{Cursor, Write};

fn markdown(text: &str) -> Reading {
    read(Format::Markdown, None, text.as_bytes()).unwrap()
}

fn title(text: &str) -> Option<String> {
    markdown(text).title
}

#[test]
fn front_matter_is_metadata_and_no_text() {
    let read =
        markdown("---\ntitle: Ferry rules\n# a comment\n---\n\nThe ferry leaves at seven.\n");
    assert_eq!(read.title.as_deref(), Some("Ferry rules"));
    assert_eq!(read.text, "The ferry leaves at seven.\n");
    assert_eq!(json!(read.metadata), json!({"title": "Ferry rules"}));

    let long = "---  \r\ntitle: \"Ferry: rules\"\r\ntags: [a, b]\r\ndraft: no\r\nnumber: 0755\r\ndate: 2024-05-01\r\n\
        about: |\r\n  # no heading\r\n  more\r\nmap:\r\n  1: one\r\n...\r\n# Other\r\n\r\nText.\r\n";
    let read = markdown(long);
    assert_eq!(read.title.as_deref(), Some("Ferry: rules"));
    assert_eq!(read.text, "# Other\n\nText.\n");
    assert_eq!(
        json!(read.metadata),
        json!({"title": "Ferry: rules", "tags": ["a", "b"], "draft": "no", "number": "0755", "date": "2024-05-01",
            "about": "# no heading\nmore\n", "map": {"1": "one"}})
    );
    let toml =
        markdown("+++\ntitle = \"Ferry\"\ndate = 2024-05-01\n[extra]\nseats = 12\n+++\nText.\n");
    assert_eq!(toml.title.as_deref(), Some("Ferry"));
    assert_eq!(toml.metadata["date"], "2024-05-01");
    assert_eq!(toml.metadata["extra"], json!({"seats": 12}));
    assert_eq!(toml.text, "Text.\n");
    assert_eq!(markdown("---\n# only a comment\n---\nText.").text, "Text.");
    assert_eq!(
        title("---\ntitle: 1984\n---\n# Book\n").as_deref(),
        Some("1984")
    );
    assert_eq!(title("---\ntitle:\n---\n# Book\n").as_deref(), Some("Book"));
}

#[test]
fn a_thematic_break_is_no_front_matter() {
    for text in [
        "---\n\nText without end.\n",
        "---\nText\n",
        "---\n\nSome words.\n\n---\n\nMore.\n",
        "---\nJust a line, unbroken\n---\n",
        "----\ntitle: a\n----\n",
        "\n---\ntitle: a\n---\n",
        "text\n---\ntitle: a\n---\n",
        "--- x\ntitle: a\n---\n",
        "---",
    ] {
        let read = markdown(text);
        assert_eq!(
            (read.text.as_str(), read.metadata.len()),
            (text, 0),
            "{text:?}"
        );
    }
}

#[test]
fn wrong_front_matter_is_refused_with_its_line() {
    let line = |text: &str| match read(Format::Markdown, None, text.as_bytes()).unwrap_err() {
        Unreadable::FrontMatter { line, reason } => {
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
            line
        }
        other => panic!("{other}"),
    };
    assert_eq!(line("---\ntitle: a\nb: [1, 2\n---\nText\n"), 3);
    assert_eq!(line("---\ntitle: a: b\n---\nText\n"), 2);
    assert_eq!(line("---\ntitle: a\ntitle: b\n---\nText\n"), 3);
    assert_eq!(line("+++\na = 1\nb = \n+++\nText\n"), 3);
}

/// Line by line what is wrong and what would be right, in the words of YAML and not of a program.
#[test]
fn wrong_front_matter_is_told_in_its_readers_words() {
    let told = |matter: &str| {
        let text = format!("---\n{matter}\n---\nText\n");
        let refused = read(Format::Markdown, None, text.as_bytes());
        refused.expect_err(matter).to_string()
    };
    for (matter, line, right) in [
        (
            "title: a\ntitle: b",
            "line 3",
            "`title` stands there twice; keep one",
        ),
        ("title: a: b", "line 2", "put such a value in quotes"),
        ("title: a\n b: c", "line 3", "keys at the same column"),
        ("title: a\nb: [1, 2", "line 3", "a bracket is not closed"),
        ("title: a\nb: \"open", "line", "close the quotes"),
        ("title: a\nb: \"\\q\"", "line 3", "write a backslash twice"),
        ("title: a\nb: *nobody", "line 3", "put the value in quotes"),
        ("title: a\nb: .nan", "line 3", "`.nan` is not finite"),
        ("title: a\nb: 1e999", "line 3", "`1e999` is not finite"),
        ("title: a\nb: !!binary x", "line 3", "leave the tag out"),
        ("title: a\nb: !!int x", "line 3", "leave the tag out"),
        ("title: a\n<<: 7", "line 3", "name the keys themselves"),
        ("title: a\n? [a, b]\n: c", "line 3", "`key: value`"),
        ("title: a\n\tb: c", "line 3", "indent by spaces"),
        ("title: a\nb: %x", "line 3", "put the value in quotes"),
        ("title: a\nno key", "line", "`key: value`"),
    ] {
        let told = told(matter);
        assert!(
            told.starts_with(line) && told.contains(right),
            "{matter}: {told}"
        );
        let lower = told.to_lowercase();
        for word in [
            "struct",
            "enum",
            "invalid type",
            "deserial",
            "option",
            "string",
            "i64",
            "f64",
            "u64",
            "map",
            "sequence",
            "policy",
            "scalar",
            "::",
            "\n",
            "budget",
        ] {
            assert!(!lower.contains(word), "{word} in: {told}");
        }
    }
    let many = format!("title: a\nb: [{}]", "1, ".repeat(20_000));
    assert!(
        told(&many).contains("more values than are read (10000)"),
        "{}",
        told(&many)
    );
    let toml = read(Format::Markdown, None, b"+++\na = 1\nb = x\n+++\nText\n");
    let toml = toml.unwrap_err().to_string();
    assert!(
        toml.starts_with("line 3") && toml.contains("double quotes"),
        "{toml}"
    );
}

#[test]
fn the_title_is_the_first_heading_of_the_highest_kind() {
    assert_eq!(
        title("```\n~~~\n# not a title\n```\n\nReal title\n==========\n\ntext\n").as_deref(),
        Some("Real title")
    );
    assert_eq!(title("text\n\n## The *pump* ##\n# B").as_deref(), Some("B"));
    assert_eq!(
        title("text\n\n## The *pump* ##\n").as_deref(),
        Some("The pump")
    );
    assert_eq!(title("#hashtag\n####### seven\n#\n\\# no"), None);
    assert_eq!(
        title("# A &amp; B &mdash; `c` ![pic](x) [link][r]\n\n[r]: y\n").as_deref(),
        Some("A & B — c pic link")
    );
    assert_eq!(title("Two\nlines\n---\n").as_deref(), Some("Two lines"));
    assert_eq!(
        title("<!-- # no -->\n\n<pre>\n# no\n</pre>\n\n~~~ \n# no\n~~~\n\n   # Yes\n").as_deref(),
        Some("Yes")
    );
}

#[test]
fn comments_are_no_text_except_in_code() {
    let text = "<!-- licence -->\n\n# A <!-- x --> b\n\nOne <!-- two\nthree --> four `<!-- kept -->`.\n\n```\n<!-- kept -->\n```\n";
    let read = markdown(text);
    assert_eq!(
        read.text,
        "# A  b\n\nOne  four `<!-- kept -->`.\n\n```\n<!-- kept -->\n```\n"
    );
    assert_eq!(read.title.as_deref(), Some("A b"));
    assert_eq!(markdown("a <!-- no end").text, "a <!-- no end");
}

#[test]
fn marks_and_character_sets_tell_the_encoding() {
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}"
            .encode_utf16()
            .chain(text.encode_utf16())
            .flat_map(bytes)
            .collect()
    };
    let text = "# Größe 灯塔 🗼\n\nEins.\n";
    for bytes in [
        text.as_bytes().to_vec(),
        format!("\u{feff}{text}").into_bytes(),
        utf16(text, u16::to_le_bytes),
        utf16(text, u16::to_be_bytes),
    ] {
        let found = read(Format::Markdown, None, &bytes).unwrap();
        assert_eq!(
            (found.title.as_deref(), found.text.as_str()),
            (Some("Größe 灯塔 🗼"), text)
        );
        assert_eq!(read(Format::Plain, None, &bytes).unwrap().text, text);
    }
    let marked = "\u{feff}---\ntitle: T\n---\nText";
    assert_eq!(markdown(marked).title.as_deref(), Some("T"));
    let western =
        |charset: &str| read(Format::Plain, Some(charset), b"caf\xe9 \x80 5").map(|r| r.text);
    assert_eq!(western("ISO-8859-1").as_deref(), Ok("café € 5"));
    assert_eq!(western("windows-1252").as_deref(), Ok("café € 5"));
    assert_eq!(
        western("utf-8"),
        Err(Unreadable::Encoding {
            encoding: "UTF-8",
            at: 3
        })
    );
    assert_eq!(
        western("shift_jis"),
        Err(Unreadable::Charset("shift_jis".into()))
    );
    assert!(matches!(
        read(Format::Plain, None, b"\xff\xfe\0\0a\0\0\0"),
        Err(Unreadable::Charset(_))
    ));
    assert!(matches!(
        read(Format::Plain, None, b"\xff\xfea"),
        Err(Unreadable::Encoding { .. })
    ));
    assert_eq!(
        read(Format::Plain, None, b"a\r\nb\rc").unwrap().text,
        "a\nb\nc"
    );
}

#[test]
fn a_page_becomes_markdown() {
    let html = "<!DOCTYPE html><html><head><meta charset='utf-8'><title>Ferry &amp; rules</title><style>p{}</style></head>\
        <body><nav><a href='/'>Home</a></nav><h1>The ferry</h1><p>It leaves at <b>seven</b>, see <a href='x'>the \
        plan</a>: file_name_of.txt, 3 * 4, <code>\\d+\\.\\d+</code>.</p><script>let x = 1;</script><ul><li>One</li><li>Two</li></ul><h2>Prices</h2>\
        <table><tr><th>Seat</th><th>Price</th></tr><tr><td>Deck</td><td>3</td></tr></table>\
        <img src='y' alt='A lamp'><pre><code># code\n</code></pre></body></html>";
    let found = read(Format::Html, None, html.as_bytes()).unwrap();
    assert_eq!(found.title.as_deref(), Some("Ferry & rules"));
    for part in [
        "# The ferry",
        "**seven**",
        "see the plan:",
        "file_name_of.txt, 3 * 4, `\\d+\\.\\d+`.",
        "## Prices",
        "A lamp",
        "Deck",
    ] {
        assert!(found.text.contains(part), "{part}: {}", found.text);
    }
    for no in ["Home", "let x", "p{}", "Ferry & rules", "href"] {
        assert!(!found.text.contains(no), "{no}: {}", found.text);
    }
    let parts = super::parts(&found.text);
    assert_eq!(parts[1].path, ["The ferry", "Prices"]);
    let western = read(
        Format::Html,
        None,
        b"<meta http-equiv=x content='text/html; charset=iso-8859-1'><h1>Caf\xe9</h1><p>x",
    );
    assert_eq!(western.unwrap().title.as_deref(), Some("Café"));
    let empty = read(Format::Html, None, b"<html><script>draw()</script></html>");
    assert!(matches!(empty, Err(Unreadable::Nothing { .. })));
    let deep = "<div>".repeat(5000) + "x";
    assert!(matches!(
        read(Format::Html, None, deep.as_bytes()),
        Err(Unreadable::TooLarge { .. })
    ));
}

/// A DOCX file of these files.
fn docx(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

const BODY: &str = r#"<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="w"><w:body>
    <w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>Safety &amp; </w:t></w:r><w:r><w:t>care</w:t></w:r></w:p>
    <w:p><w:r><w:t xml:space="preserve">The fuse has </w:t></w:r><w:del><w:r><w:delText>six</w:delText></w:r></w:del>
      <w:ins><w:r><w:t>five</w:t></w:r></w:ins><w:r><w:tab/><w:t>ampere.</w:t></w:r></w:p>
    <w:p><w:pPr><w:pStyle w:val="Verzeichnis1"/></w:pPr><w:r><w:t>Safety 1</w:t></w:r></w:p>
    <w:p><w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="3"/></w:numPr></w:pPr><w:r><w:t>Oil</w:t></w:r></w:p>
    <w:p><w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="3"/></w:numPr></w:pPr><w:r><w:t>Green oil</w:t></w:r></w:p>
    <w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr><w:r><w:t>Sizes</w:t></w:r></w:p>
    <w:tbl><w:tr><w:tc><w:p><w:r><w:t>Part</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Size|mm</w:t></w:r></w:p></w:tc></w:tr>
    <w:tr><w:tc><w:p><w:r><w:t>Bolt</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>8</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
    <w:p><w:r><w:t># 5 is no heading</w:t></w:r></w:p></w:body></w:document>"#;
const STYLES: &str = r#"<w:styles xmlns:w="w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
    <w:style w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style></w:styles>"#;
const PROPERTIES: &str =
    r#"<cp:coreProperties xmlns:dc="dc"><dc:title>Pump manual</dc:title></cp:coreProperties>"#;

#[test]
fn a_word_document_becomes_markdown() {
    let file = docx(&[
        ("word/document.xml", BODY),
        ("word/styles.xml", STYLES),
        ("docProps/core.xml", PROPERTIES),
    ]);
    let found = read(Format::Docx, None, &file).unwrap();
    assert_eq!(found.title.as_deref(), Some("Pump manual"));
    assert_eq!(
        found.text,
        "# Safety & care\n\nThe fuse has five ampere.\n\n- Oil\n  - Green oil\n\n## Sizes\n\n\
         | Part | Size\\|mm |\n| --- | --- |\n| Bolt | 8 |\n\n\\# 5 is no heading\n"
    );
    let untitled = docx(&[("word/document.xml", BODY), ("word/styles.xml", STYLES)]);
    assert_eq!(
        read(Format::Docx, None, &untitled)
            .unwrap()
            .title
            .as_deref(),
        Some("Safety & care")
    );
}

#[test]
fn what_is_no_document_of_word_is_refused_by_name() {
    let reason = |bytes: &[u8]| read(Format::Docx, None, bytes).unwrap_err();
    assert!(matches!(reason(b"hello"), Unreadable::Kind { .. }));
    assert!(matches!(
        reason(b"PK\x03\x04 and no more"),
        Unreadable::Damaged { .. }
    ));
    let sheet = docx(&[(
        "_rels/.rels",
        r#"<R><Relationship Type="x/officeDocument" Target="xl/workbook.xml"/></R>"#,
    )]);
    assert!(matches!(reason(&sheet), Unreadable::Kind { .. }));
    let empty = docx(&[("word/document.xml", "<w:document><w:body/></w:document>")]);
    assert!(matches!(reason(&empty), Unreadable::Nothing { .. }));
    let broken = docx(&[("word/document.xml", "<w:document><w:p></w:body>")]);
    assert!(matches!(reason(&broken), Unreadable::Damaged { .. }));
    let bomb = docx(&[("word/document.xml", &" ".repeat((64 << 20) + 1))]);
    assert!(bomb.len() < 1 << 20);
    assert!(matches!(reason(&bomb), Unreadable::TooLarge { .. }));
}

#[test]
fn a_wrong_type_is_told_by_name() {
    let reason = |format, bytes: &[u8]| read(format, None, bytes).unwrap_err().to_string();
    let wrong = reason(Format::Plain, b"%PDF-1.4\n");
    assert!(
        wrong.contains("a PDF") && wrong.contains("application/pdf"),
        "{wrong}"
    );
    assert!(reason(Format::Markdown, b"PK\x03\x04abc").contains("zip"));
    assert!(reason(Format::Docx, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1").contains("Word"));
    assert!(
        reason(Format::Pdf, b"<html>").contains("not")
            || reason(Format::Pdf, b"<html>").contains("other")
    );
    assert_eq!(Format::of_file_name("a.b.MD"), Some(Format::Markdown));
    assert_eq!(Format::of_file_name("README"), None);
}
