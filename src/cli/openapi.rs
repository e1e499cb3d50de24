//! `autodidact openapi`: prints the API's description. `openapi/openapi.json` is its output; a test compares the two.

use autodidact::http;
use clap::Args;

#[derive(Debug, Args)]
pub struct Openapi;

impl Openapi {
    pub fn run(self) -> Result<(), String> {
        let text = serde_json::to_string_pretty(&http::openapi()).map_err(|e| e.to_string())?;
        println!("{text}");
        Ok(())
    }
}
