//! Documents as people have them: Markdown with front matter, byte order marks, HTML, PDF, DOCX, forms with files, and
//! manuals that are learned in parts.

use crate::common::{Server, json_of};
use autodidact::workflows::lengths::parts_for;
use serde_json::{Value, json};
use std::io::{Cursor, Write};

/// The stored documents of a body, as `GET /documents/{id}` shows them.
pub async fn stored(server: &Server, query: &str, kind: &str, body: Vec<u8>) -> Vec<Value> {
    let path = format!("/ingest?{query}");
    let request = server.post(&path).header("content-type", kind).body(body);
    let (status, answer) = json_of(request).await;
    assert_eq!(status, 202, "{kind}: {answer}");
    let mut found = Vec::new();
    for document in answer["documents"].as_array().unwrap() {
        let path = format!("/documents/{}", document["id"].as_str().unwrap());
        found.push(json_of(server.get(&path)).await.1);
    }
    found
}

/// The problem of a refused body: status, code and detail. Nothing may be stored.
pub async fn refused(server: &Server, kind: &str, body: Vec<u8>) -> (u16, String, String) {
    let request = server.post("/ingest?adapter=refused");
    let (status, problem) = json_of(request.header("content-type", kind).body(body)).await;
    let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    let (_, documents) = json_of(server.get("/documents?adapter=refused")).await;
    assert_eq!(documents["items"], json!([]));
    (status, text("code"), text("detail"))
}

#[tokio::test]
async fn front_matter_is_kept_as_metadata_and_not_learned() {
    let server = Server::start().await;
    let body = "---\ntitle: Ferry rules\n# a comment\n---\n\nThe ferry leaves at seven.\n";
    let found = stored(&server, "adapter=a", "text/markdown", body.into()).await;
    assert_eq!(found[0]["title"], "Ferry rules");
    assert_eq!(found[0]["text"], "The ferry leaves at seven.\n");
    assert_eq!(found[0]["metadata"], json!({"title": "Ferry rules"}));
    // The client's own title goes before.
    let found = stored(
        &server,
        "adapter=a&title=Mine",
        "text/markdown",
        body.into(),
    )
    .await;
    assert_eq!(found[0]["title"], "Mine");
    let body = "+++\ntitle = \"Ferry\"\ntags = [\"a\"]\n+++\n# Other\n\nIt leaves.\n";
    let found = stored(&server, "adapter=a", "text/markdown", body.into()).await;
    assert_eq!(
        (&found[0]["title"], &found[0]["text"]),
        (&json!("Ferry"), &json!("# Other\n\nIt leaves.\n"))
    );
    assert_eq!(found[0]["metadata"]["tags"], json!(["a"]));
    let wrong = refused(
        &server,
        "text/markdown",
        b"---\ntitle: a\nb: [1\n---\n# T\n\nText\n".to_vec(),
    )
    .await;
    assert_eq!((wrong.0, wrong.1.as_str()), (422, "invalid_front_matter"));
    assert!(wrong.2.contains("line "), "{}", wrong.2);
}

#[tokio::test]
async fn headings_are_those_of_commonmark() {
    let server = Server::start().await;
    let cases = [
        (
            "```\n~~~\n# not a title\n```\n\nReal title\n==========\n\ntext\n",
            "Real title",
        ),
        ("    # code\n\nReal title\n---\n\ntext\n", "Real title"),
        (
            "> # quoted\n\n## Second\n\ntext\n\n# First `code` &amp; *more* #\n",
            "First code & more",
        ),
        (
            "<pre>\n# html\n</pre>\n\n\\# escaped\n\n### Third\n\ntext",
            "Third",
        ),
    ];
    for (body, title) in cases {
        let found = stored(&server, "adapter=a", "text/markdown", body.into()).await;
        assert_eq!(
            (&found[0]["title"], &found[0]["text"]),
            (&json!(title), &json!(body))
        );
    }
    let untitled = refused(
        &server,
        "text/markdown",
        b"#hashtag\n\n```\n# no\n```\n".to_vec(),
    )
    .await;
    assert_eq!((untitled.0, untitled.1.as_str()), (422, "missing_field"));
}

#[tokio::test]
async fn a_byte_order_mark_is_not_text() {
    let server = Server::start().await;
    let utf16 = |text: &str| -> Vec<u8> {
        let units = format!("\u{feff}{text}");
        units.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let marked = |text: &str| format!("\u{feff}{text}").into_bytes();
    let line = r#"{"title": "Größe", "text": "Zwölf."}"#;
    let lines = format!("{line}\n\u{feff}{line}\n");
    let whole = format!(r#"{{"adapter": "a", "again": true, "documents": [{line}]}}"#);
    for (query, kind, body) in [
        (
            "adapter=a&again=true",
            "application/x-ndjson",
            lines.as_str(),
        ),
        ("", "application/json", &whole),
        ("adapter=a&again=true", "text/markdown", "# Größe\n\nZwölf."),
        (
            "adapter=a&again=true&title=Gr%C3%B6%C3%9Fe",
            "text/plain",
            "Zwölf.",
        ),
        (
            "adapter=a&again=true",
            "text/html",
            "<title>Größe</title><p>Zwölf.",
        ),
    ] {
        for bytes in [marked(body), utf16(body)] {
            let found = stored(&server, query, kind, bytes).await;
            for document in found {
                assert_eq!(document["title"], "Größe", "{kind}");
                let text = document["text"].as_str().unwrap();
                assert!(
                    text.ends_with("Zwölf.") && !text.contains('\u{feff}'),
                    "{kind}: {text}"
                );
            }
        }
    }
    // Every route that takes JSON. A train request that names nothing is refused for its field, so it was parsed.
    let chat =
        json!({"model": "tiny", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
    let train = json!({"domain": "knowledge", "policy": "writer", "contexts": []});
    for (path, body, expected) in [
        ("/v1/chat/completions", &chat, 200),
        ("/train", &train, 422),
        ("/adapt", &json!({"task": {}}), 422),
    ] {
        let request = server.post(path).header("content-type", "application/json");
        let (status, answer) = json_of(request.body(marked(&body.to_string()))).await;
        assert_eq!(status, expected, "{path}: {answer}");
    }
    let western = server
        .post("/ingest?adapter=a&title=T")
        .header("content-type", "text/plain; charset=\"ISO-8859-1\"");
    assert_eq!(json_of(western.body(b"caf\xe9".to_vec())).await.0, 202);
    let (status, code, detail) =
        refused(&server, "text/plain; charset=shift_jis", b"x".to_vec()).await;
    assert_eq!((status, code.as_str()), (415, "unsupported_media_type"));
    assert!(detail.contains("shift_jis"), "{detail}");
}

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

fn docx(body: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file("word/document.xml", options).unwrap();
    let xml = format!("<w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>");
    writer.write_all(xml.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

/// A PDF of one page with one line.
fn pdf(line: &str) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 72 720 Td ({line}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [4 0 R] /Count 1 /MediaBox [0 0 612 792] >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
            .to_owned(),
        format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ),
        "<< /Title (Ferry rules) >>".to_owned(),
    ];
    let mut text = String::from("%PDF-1.4\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (nth, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", text.len());
        text += &format!("{} 0 obj\n{object}\nendobj\n", nth + 1);
    }
    let start = text.len();
    text += &format!(
        "xref\n0 7\n{table}trailer\n<< /Size 7 /Root 1 0 R /Info 6 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    text.into_bytes()
}

#[tokio::test]
async fn pages_pdfs_and_word_documents_are_read() {
    let server = Server::start().await;
    let html = "<html><head><title>Ferry rules</title></head><body><nav>Home</nav><h1>Ferry</h1><p>It leaves at \
        <a href='/seven'>seven</a>.</p><script>x()</script></body></html>";
    let found = stored(
        &server,
        "adapter=a",
        "text/html; charset=utf-8",
        html.into(),
    )
    .await;
    assert_eq!(
        (&found[0]["title"], &found[0]["text"]),
        (
            &json!("Ferry rules"),
            &json!("# Ferry\n\nIt leaves at seven.")
        )
    );
    let found = stored(
        &server,
        "adapter=a",
        "application/pdf",
        pdf("The ferry leaves at seven."),
    )
    .await;
    assert_eq!(
        (&found[0]["title"], &found[0]["text"]),
        (&json!("Ferry rules"), &json!("The ferry leaves at seven."))
    );
    let body = "<w:p><w:pPr><w:pStyle w:val=\"Heading1\"/></w:pPr><w:r><w:t>Ferry rules</w:t></w:r></w:p>\
        <w:p><w:r><w:t>It leaves at seven.</w:t></w:r></w:p>";
    let found = stored(&server, "adapter=a", DOCX, docx(body)).await;
    assert_eq!(
        (&found[0]["title"], &found[0]["text"]),
        (
            &json!("Ferry rules"),
            &json!("# Ferry rules\n\nIt leaves at seven.\n")
        )
    );

    for (kind, body, status, code, told) in [
        (
            "application/pdf",
            b"hello".to_vec(),
            415,
            "unsupported_media_type",
            "a PDF",
        ),
        (
            "text/plain",
            pdf("x"),
            415,
            "unsupported_media_type",
            "application/pdf",
        ),
        (
            "application/pdf",
            b"%PDF-1.4 broken".to_vec(),
            422,
            "unreadable_document",
            "damaged",
        ),
        (
            "application/pdf",
            pdf(""),
            422,
            "unreadable_document",
            "pictures",
        ),
        (DOCX, docx(""), 422, "unreadable_document", "no text"),
        (
            DOCX,
            b"PK\x03\x04 broken".to_vec(),
            422,
            "unreadable_document",
            "damaged",
        ),
        (
            "text/html",
            b"<script>x()</script>".to_vec(),
            422,
            "unreadable_document",
            "script",
        ),
        (
            "image/png",
            b"\x89PNG".to_vec(),
            415,
            "unsupported_media_type",
            "application/pdf",
        ),
    ] {
        let found = refused(&server, kind, body).await;
        assert_eq!(
            (found.0, found.1.as_str()),
            (status, code),
            "{kind}: {}",
            found.2
        );
        assert!(found.2.contains(told), "{kind}: {}", found.2);
    }
}

/// Name, file name with content type, and bytes.
pub type FormField<'a> = (&'a str, Option<(&'a str, &'a str)>, &'a [u8]);

/// The body of a form. A field is its name, with a file name and a type for files, and its content.
pub fn form(fields: &[FormField<'_>], boundary: &str) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, file, content) in fields {
        body.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").into_bytes(),
        );
        if let Some((file, kind)) = file {
            body.extend(format!("; filename=\"{file}\"").into_bytes());
            if !kind.is_empty() {
                body.extend(format!("\r\nContent-Type: {kind}").into_bytes());
            }
        }
        body.extend(b"\r\n\r\n");
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[tokio::test]
async fn a_form_brings_several_files() {
    let server = Server::start().await;
    let pdf = pdf("The ferry leaves at seven.");
    let files: [FormField<'_>; 5] = [
        ("adapter", None, b"forms"),
        ("file", Some(("ferry.pdf", "application/pdf")), &pdf),
        (
            "file",
            Some(("lamp.md", "application/octet-stream")),
            b"# The *lamp*\n\nGreen.",
        ),
        ("file", Some(("notes/Old notes.txt", "")), b"No title here."),
        (
            "file",
            Some(("page.html", "text/html")),
            b"<p>No title either.",
        ),
    ];
    let (kind, body) = form(&files, "xyz");
    let found = stored(&server, "", &kind, body).await;
    let titles: Vec<&str> = found.iter().map(|d| d["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Ferry rules", "The lamp", "Old notes", "page"]);
    assert!(found.iter().all(|d| d["adapter"] == "forms"));

    // The same form in other bytes is the same request.
    let send = async |boundary: &str, title: &[u8]| {
        let fields: [FormField<'_>; 2] = [
            ("title", None, title),
            ("file", Some(("a.txt", "text/plain")), b"Text."),
        ];
        let (kind, body) = form(&fields, boundary);
        let request = server
            .post("/ingest?adapter=forms")
            .header("idempotency-key", "k1");
        json_of(request.header("content-type", kind).body(body)).await
    };
    let (first, again) = (send("one", b"T").await, send("two", b"T").await);
    assert_eq!(first.1["job"]["id"], again.1["job"]["id"]);
    assert_eq!(send("three", b"U").await.1["code"], "idempotency_mismatch");

    let text: (&str, Option<(&str, &str)>, &[u8]) =
        ("file", Some(("a.txt", "text/plain")), b"Text.");
    for (fields, field) in [
        (vec![("title", None, b"T".as_slice())], "file"),
        (vec![("tilte", None, b"T".as_slice()), text], "tilte"),
        (vec![("title", None, b"T".as_slice()), text, text], "title"),
        (
            vec![("adapter", None, b"other".as_slice()), text],
            "adapter",
        ),
        (
            vec![
                text,
                ("file", Some(("b.txt", "text/plain")), b" ".as_slice()),
            ],
            "file[1].text",
        ),
        (
            vec![
                text,
                ("file", Some(("b.pdf", "application/pdf")), b"no".as_slice()),
            ],
            "file[1].body",
        ),
    ] {
        let (kind, body) = form(&fields, "xyz");
        let request = server
            .post("/ingest?adapter=kb")
            .header("content-type", kind)
            .body(body);
        let (status, problem) = json_of(request).await;
        assert!((400..500).contains(&status), "{problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let request = server
        .post("/ingest?adapter=kb")
        .header("content-type", "multipart/form-data");
    let (status, problem) = json_of(request.body("x")).await;
    assert_eq!((status, &problem["code"]), (400, &json!("malformed_form")));
    assert_eq!(
        json_of(server.get("/documents?adapter=kb")).await.1["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_manual_is_one_document_in_parts() {
    let server = Server::start().await;
    let mut manual = String::from("---\nversion: 3\n---\n# Pump manual\n\nFor the pump of Vell.\n");
    for chapter in 1..=4 {
        manual += &format!("\n## Chapter {chapter}\n");
        for section in 1..=4 {
            manual += &format!("\n### Section {chapter}.{section}\n\n");
            for fact in 0..40 {
                manual += &format!("Valve {chapter}-{section}-{fact} opens at {fact} bar.\n");
            }
        }
    }
    let found = stored(&server, "adapter=a", "text/markdown", manual.clone().into()).await;
    assert_eq!(found.len(), 1);
    let parts = |document: &Value| {
        let [title, text] = ["title", "text"].map(|name| document[name].as_str().unwrap());
        parts_for(&server.state.engine, title, text).unwrap()
    };
    let cut = parts(&found[0]);
    assert!(cut.len() >= 8, "{}", cut.len());
    for part in &cut {
        assert!(part.tokens <= 1024, "{part:?}");
        assert!(part.title.starts_with("Pump manual"), "{part:?}");
    }
    let titles: Vec<&str> = cut.iter().map(|p| p.title.as_str()).collect();
    assert!(
        titles.contains(&"Pump manual > Chapter 4 > Section 4.4"),
        "{titles:?}"
    );
    let short = stored(
        &server,
        "adapter=a",
        "text/markdown",
        b"# A\n\na\n\n## B\n\nb\n".to_vec(),
    )
    .await;
    let whole = parts(&short[0]);
    assert_eq!((whole.len(), whole[0].title.as_str()), (1, "A"));
}
