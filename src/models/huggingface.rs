//! Files of a Hugging Face repository over HTTPS. An interrupted download is resumed if the revision or the digest is
//! pinned. `HF_ENDPOINT` names a mirror, `HF_TOKEN` opens gated repositories.

use std::time::Duration;

use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{
        Response,
        header::{CONTENT_RANGE, RANGE},
    },
};

use super::catalogue::Model;
use super::error::DeliveryError;
use super::staging::{Sink, Staging};

const HUB: &str = "https://huggingface.co";

/// The hub's address and the user's token.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    endpoint: String,
    token: Option<String>,
}

impl Hub {
    pub(super) fn from_env(env: impl Fn(&str) -> Option<String>) -> Self {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let endpoint = env("AUTODIDACT_HF_ENDPOINT")
            .or_else(|| env("HF_ENDPOINT"))
            .unwrap_or_else(|| HUB.to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: env("HF_TOKEN"),
        }
    }

    /// Downloads `files` of `repository` at `revision`.
    pub(super) fn deliver(
        &self,
        model: &Model,
        (repository, revision, files): (&str, &str, &[String]),
        staging: &mut Staging,
    ) -> Result<(), DeliveryError> {
        let agent = agent();
        for file in files {
            let url = format!("{}/{repository}/resolve/{revision}/{file}", self.endpoint);
            let name = if files.len() == 1 { &model.file } else { file };
            let mut sink = if model.is_pinned(revision) {
                staging.reopen(name)?
            } else {
                staging.create(name)?
            };
            self.download(&agent, &url, model, &mut sink, staging)?;
            staging.close(sink)?;
        }
        Ok(())
    }

    fn download(
        &self,
        agent: &Agent,
        url: &str,
        model: &Model,
        sink: &mut Sink,
        staging: &mut Staging,
    ) -> Result<(), DeliveryError> {
        let mut response = self.get(agent, url, sink.written())?;
        if response.status() == 416 {
            // The server has no bytes beyond ours. If its total equals ours, the file is complete.
            let total = format!("bytes */{}", sink.written());
            let whole = response.headers().get(CONTENT_RANGE);
            if whole.is_some_and(|range| range.as_bytes() == total.as_bytes()) {
                return Ok(());
            }
            sink.restart()?;
            response = self.get(agent, url, 0)?;
        }
        match response.status().as_u16() {
            206 => {}
            200 => sink.restart()?,
            401 | 403 if model.gated => {
                return Err(DeliveryError::Source(format!(
                    "{} is gated: accept its licence on its huggingface.co page and set HF_TOKEN",
                    model.name
                )));
            }
            status => return Err(DeliveryError::Source(format!("{url} answered {status}"))),
        }
        let before = sink.written();
        let promised = response.body().content_length();
        staging.pour(&mut response.body_mut().as_reader(), sink)?;
        let received = sink.written() - before;
        match promised {
            Some(promised) if received != promised => Err(DeliveryError::Source(format!(
                "{url} stopped after {received} of {promised} bytes"
            ))),
            _ => Ok(()),
        }
    }

    fn get(&self, agent: &Agent, url: &str, from: u64) -> Result<Response<Body>, DeliveryError> {
        let mut request = agent.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        request.call().map_err(|error| {
            DeliveryError::Source(format!("{} cannot be reached: {error}", self.endpoint))
        })
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        // The hub redirects to other hosts, and these must not see the token.
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("autodidact/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}
