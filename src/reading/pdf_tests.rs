//! Reading PDFs that are written here, object by object.

use super::bounded::Deadline;
use super::pdf::extract;
use super::{Format, Reading, Unreadable, read};
use std::time::Duration;

/// A PDF of these objects, numbered from 1; the first is the catalogue. `more`: further keys of the trailer.
fn pdf(objects: &[String], more: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut places = Vec::new();
    for (nth, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", nth + 1).into_bytes());
    }
    let start = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    for place in places {
        bytes.extend(format!("{place:010} 00000 n \n").into_bytes());
    }
    let size = objects.len() + 1;
    bytes.extend(
        format!("trailer\n<< /Size {size} /Root 1 0 R {more} >>\nstartxref\n{start}\n%%EOF\n")
            .into_bytes(),
    );
    bytes
}

fn stream(dictionary: &str, content: &str) -> String {
    format!(
        "<< {dictionary} /Length {} >>\nstream\n{content}\nendstream",
        content.len()
    )
}

/// The objects of a document with a page for each list of lines, its font in Helvetica.
fn pages(pages: &[&[&str]]) -> Vec<String> {
    let kids: Vec<String> = (0..pages.len())
        .map(|nth| format!("{} 0 R", 4 + 2 * nth))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} /MediaBox [0 0 612 792] >>",
            kids.join(" "),
            pages.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    for (nth, lines) in pages.iter().enumerate() {
        let shown: Vec<String> = lines.iter().map(|line| format!("({line}) Tj T*")).collect();
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /Contents {} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            5 + 2 * nth
        ));
        objects.push(stream(
            "",
            &format!("BT /F1 12 Tf 14 TL 72 720 Td {} ET", shown.join(" ")),
        ));
    }
    objects
}

fn found(bytes: &[u8]) -> Result<Reading, Unreadable> {
    read(Format::Pdf, None, bytes)
}

#[test]
fn the_text_of_a_pdf_is_read_page_by_page() {
    let mut objects = pages(&[
        &[
            "The ferry of Vell leaves at seven.",
            "It carries twelve pas-",
            "sengers.",
        ],
        &["The second page costs 3 crowns."],
    ]);
    objects.push("<< /Title (Ferry rules) >>".to_owned());
    let info = format!("/Info {} 0 R", objects.len());
    let read = found(&pdf(&objects, &info)).unwrap();
    assert_eq!(read.title.as_deref(), Some("Ferry rules"));
    assert!(
        read.text.contains("The ferry of Vell leaves at seven."),
        "{}",
        read.text
    );
    assert!(read.text.contains("twelve passengers."), "{}", read.text);
    assert!(
        read.text.ends_with("The second page costs 3 crowns."),
        "{}",
        read.text
    );
    assert!(read.metadata.is_empty());
    // The title of a file says nothing.
    *objects.last_mut().unwrap() = "<< /Title (Microsoft Word - ferry.doc) >>".to_owned();
    assert_eq!(found(&pdf(&objects, &info)).unwrap().title, None);
}

#[test]
fn a_pdf_without_readable_text_is_refused_with_the_reason() {
    let empty = found(&pdf(&pages(&[&[]]), "")).unwrap_err();
    assert!(matches!(empty, Unreadable::Nothing { .. }), "{empty}");
    let encrypted = pdf(
        &[
            &pages(&[&["Secret."]])[..],
            &["<< /Filter /Standard /V 1 /R 2 /P -4 /Length 40 \
            /O <000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f> \
            /U <000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f> >>"
                .to_owned()],
        ]
        .concat(),
        "/Encrypt 6 0 R /ID [<00><00>]",
    );
    let refused = found(&encrypted).unwrap_err();
    assert!(matches!(refused, Unreadable::Encrypted { .. }), "{refused}");
    let whole = pdf(&pages(&[&["Text."]]), "");
    for broken in [&whole[..whole.len() / 2], b"%PDF-1.4 and nothing else"] {
        let refused = found(broken).unwrap_err();
        assert!(matches!(refused, Unreadable::Damaged { .. }), "{refused}");
    }
}

#[test]
fn circles_and_bombs_are_refused() {
    // A drawing that draws itself.
    let mut objects = pages(&[&["Text."]]);
    objects[3] =
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /XObject << /X 6 0 R >> >> >>"
            .to_owned();
    objects[4] = stream("", "/X Do");
    objects.push(stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 1 1] /Resources << /XObject << /X 6 0 R >> >>",
        "/X Do",
    ));
    let refused = found(&pdf(&objects, "")).unwrap_err();
    assert!(refused.to_string().contains("circle"), "{refused}");
    // Each draws the next ten times.
    let mut objects = pages(&[&["Text."]]);
    objects[3] =
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /XObject << /X 6 0 R >> >> >>"
            .to_owned();
    objects[4] = stream("", &"/X Do ".repeat(10));
    for next in 7..17 {
        let resources = format!("/Resources << /XObject << /X {next} 0 R >> >>");
        objects.push(stream(
            &format!("/Type /XObject /Subtype /Form {resources}"),
            &"/X Do ".repeat(10),
        ));
    }
    objects.push(stream("/Type /XObject /Subtype /Form", "n"));
    let refused = found(&pdf(&objects, "")).unwrap_err();
    assert!(matches!(refused, Unreadable::TooLarge { .. }), "{refused}");
    // A page that inherits from itself.
    let mut objects = pages(&[&["Text."]]);
    objects[3] = "<< /Type /Page /Parent 4 0 R /Contents 5 0 R >>".to_owned();
    let refused = found(&pdf(&objects, "")).unwrap_err();
    assert!(refused.to_string().contains("circle"), "{refused}");
}

#[test]
fn a_pdf_that_takes_too_long_is_refused() {
    let bytes = pdf(&pages(&[&["Text."]]), "");
    let over = Deadline::new("PDF", Duration::ZERO);
    let refused = extract(&bytes, &over).unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("PDF") && told.contains("split it"), "{told}");
}

#[test]
fn a_drawing_costs_its_own_work_alone() {
    // One large drawing that is drawn once, and a small one that is drawn often.
    let mut objects = pages(&[&["Text."]]);
    objects[3] =
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 3 0 R >> \
        /XObject << /Large 6 0 R /Small 7 0 R >> >> >>"
            .to_owned();
    let small = "/Small Do ".repeat(2000);
    let shown = format!("BT /F1 12 Tf 72 720 Td (Do read this.) Tj ET /Large Do {small}");
    objects[4] = stream("", &shown);
    let form = "/Type /XObject /Subtype /Form /BBox [0 0 1 1] /Resources << >>";
    objects.push(stream(form, &"n ".repeat(200_000)));
    objects.push(stream(form, "n"));
    let read = found(&pdf(&objects, "")).unwrap();
    assert_eq!(read.text, "Do read this.");
    // The large one as often is too much.
    objects[4] = stream("", &shown.replace("Small", "Large"));
    let refused = found(&pdf(&objects, "")).unwrap_err();
    assert!(matches!(refused, Unreadable::TooLarge { .. }), "{refused}");
}

#[test]
fn a_page_that_cannot_be_read_is_told() {
    let mut objects = pages(&[&["The first page can be read."], &["Text."]]);
    // A font that is not there.
    objects[6] = stream("", "BT /F9 12 Tf (Lost) Tj ET");
    let read = found(&pdf(&objects, "")).unwrap();
    assert_eq!(read.metadata["unread_pages"], serde_json::json!([2]));
    assert!(read.text.contains("The first page can be read."));
}

#[test]
fn bookmarks_tell_the_headings() {
    let mut objects = pages(&[
        &["Safety", "Five ampere.", "Care"],
        &["Oil it.", "Cables", "Green ones."],
    ]);
    // Objects 8 to 13: the outline, three bookmarks (one by name, one by action, one in a circle), the names.
    objects[0] =
        "<< /Type /Catalog /Pages 2 0 R /Outlines 8 0 R /Names << /Dests 12 0 R >> >>".to_owned();
    objects.extend(
        [
            "<< /Type /Outlines /First 9 0 R >>",
            "<< /Title (Pump manual) /Dest [4 0 R /Fit] /First 10 0 R /Next 9 0 R >>",
            "<< /Title (Safety) /Dest (first) /Next 11 0 R /Parent 9 0 R >>",
            "<< /Title <feff004300610062006c00650073> /A << /S /GoTo /D [6 0 R /XYZ 0 0 0] >> /First 9 0 R >>",
            "<< /Kids [13 0 R 12 0 R] >>",
            "<< /Names [(first) << /D [4 0 R /Fit] >>] >>",
        ]
        .map(str::to_owned),
    );
    let read = found(&pdf(&objects, "")).unwrap();
    assert_eq!(read.title.as_deref(), Some("Pump manual"));
    let parts = super::parts(&read.text);
    let paths: Vec<String> = parts.iter().map(|part| part.path.join(" > ")).collect();
    assert_eq!(
        paths,
        ["Pump manual > Safety", "Pump manual > Cables"],
        "{}",
        read.text
    );
    assert!(
        parts[0].text.contains("Oil it.") && parts[1].text == "Green ones.",
        "{}",
        read.text
    );
}
