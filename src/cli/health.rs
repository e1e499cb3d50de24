//! `autodidact health`: one request to `/readyz`, for health checks of containers without curl.

use std::{net::Ipv4Addr, time::Duration};

use autodidact::config::Overrides;
use clap::Args;
use ureq::Agent;

use super::settings::Settings;

#[derive(Debug, Args)]
pub struct Health {
    /// Address of the server, such as http://127.0.0.1:8080 [default: the configured port on this machine]
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Health {
    pub fn run(self) -> Result<(), String> {
        let url = match self.url {
            Some(url) => url,
            None => {
                let mut listen = self.settings.load(Overrides::default())?.listen;
                if listen.ip().is_unspecified() {
                    listen.set_ip(Ipv4Addr::LOCALHOST.into());
                }
                format!("http://{listen}")
            }
        };
        let url = format!("{}/readyz", url.trim_end_matches('/'));
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(5)))
            .build()
            .into();
        match agent.get(&url).call() {
            Ok(response) if response.status().is_success() => {
                println!("ready");
                Ok(())
            }
            Ok(response) => Err(format!("{url} answered {}", response.status())),
            Err(error) => Err(format!("{url} cannot be reached: {error}")),
        }
    }
}
