//! `autodidact key`: makes a bearer key and prints it once, with the hash that the server stores.

use clap::Args;
use sha2::{Digest, Sha256};

#[derive(Debug, Args)]
pub struct Key {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

impl Key {
    pub fn run(self) -> Result<(), String> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| format!("the system gives no random numbers: {error}"))?;
        let key = format!("ak-{}", hex(&secret));
        let hash = format!("sha256:{}", hex(&Sha256::digest(key.as_bytes())));
        if self.json {
            println!("{}", serde_json::json!({"key": key, "hash": hash}));
        } else {
            println!("key (shown once; clients send it as `Authorization: Bearer …`):\n  {key}\n");
            println!("for the configuration file:\n  [auth]\n  keys = [\"{hash}\"]");
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
