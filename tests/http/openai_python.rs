//! OpenAI's official Python client, in its own process.

use super::python;
use crate::common::{BASE, Server};
use autodidact::store::digest;

#[tokio::test]
async fn the_python_package_is_served() {
    let server = Server::with(|config| config.auth.keys = vec![digest(b"sk-test")]).await;
    let url = format!("{}/v1", server.url);
    python::run("tests/openai_client.py", &[&url, "sk-test", BASE]).await;
}
