//! `autodidact openapi`: the API's description, as `openapi/openapi.json` pins it.

use autodidact::http;
use clap::Args;

#[derive(Debug, Args)]
pub struct Openapi;

impl Openapi {
    pub fn run(self) -> Result<(), String> {
        let text = http::openapi()
            .to_pretty_json()
            .map_err(|e| e.to_string())?;
        println!("{text}");
        Ok(())
    }
}
