//! The pages: console, documentation, probes, metrics. None of them loads anything from another server.

use crate::common::{BASE, Server};

async fn text(server: &Server, path: &str) -> (String, String) {
    let answer = server.get(path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (kind, answer.text().await.unwrap())
}

#[tokio::test]
async fn the_console_brings_all_it_names() {
    let server = Server::start().await;
    let (kind, index) = text(&server, "/").await;
    assert!(kind.starts_with("text/html"));
    let named: Vec<&str> = index
        .split('"')
        .filter(|s| s.starts_with("/static/"))
        .collect();
    assert!(named.len() >= 3, "{named:?}");
    for path in named {
        text(&server, path).await;
    }
    // Every file of the folder is part of the binary, in its type.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/static");
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if name == "index.html" {
            continue;
        }
        let (kind, body) = text(&server, &format!("/static/{name}")).await;
        let expected = match name.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("a type for .{other}"),
        };
        assert_eq!(kind, expected, "{name}");
        assert_eq!(
            body,
            std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
        );
    }
}

#[tokio::test]
async fn a_policy_keeps_other_sources_out() {
    let server = Server::start().await;
    for path in ["/", "/jobs", "/docs/"] {
        let answer = server.get(path).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn the_documentation_needs_no_other_server() {
    let server = Server::start().await;
    let (_, page) = text(&server, "/docs/").await;
    let sources = page
        .split(['"', '\''])
        .filter(|s| s.ends_with(".js") || s.ends_with(".css"));
    let sources: Vec<&str> = sources.collect();
    assert!(!sources.is_empty());
    for source in sources {
        assert!(!source.contains("//"), "{source}");
        text(
            &server,
            &format!("/docs/{}", source.trim_start_matches("./")),
        )
        .await;
    }
    assert!(
        text(&server, "/docs/swagger-initializer.js")
            .await
            .1
            .contains("/openapi.json")
    );
}

#[tokio::test]
async fn probes_answer() {
    let server = Server::start().await;
    assert!(text(&server, "/livez").await.1.contains("ok"));
    assert!(text(&server, "/readyz").await.1.contains("ok"));
}

#[tokio::test]
async fn metrics_count_by_route() {
    let server = Server::start().await;
    server.says(BASE).await;
    server
        .ingest("kb", &["One"])
        .query(&[("wait", "30s")])
        .send()
        .await
        .unwrap();
    server.get("/jobs/job_secret").send().await.unwrap();
    let (kind, metrics) = text(&server, "/metrics").await;
    assert!(kind.starts_with("text/plain"));
    let has = |start: &str| metrics.lines().any(|line| line.starts_with(start));
    for start in [
        "autodidact_http_requests_total{method=\"POST\",route=\"/v1/chat/completions\",status=\"200\"} ",
        "autodidact_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"404\"} ",
        "autodidact_http_request_duration_seconds_bucket{",
        "autodidact_generated_tokens_total ",
        "autodidact_jobs_total{kind=\"ingest\",state=\"succeeded\"} ",
        "autodidact_jobs_open{kind=\"ingest\",state=\"queued\"} ",
        "autodidact_documents_total{state=\"learned\"} ",
        "autodidact_running_sequences ",
        "# HELP autodidact_http_requests_total ",
    ] {
        assert!(has(start), "no {start} in\n{metrics}");
    }
    assert!(!metrics.contains("job_secret"), "a raw path became a label");
}
