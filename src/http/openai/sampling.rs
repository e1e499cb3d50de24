//! Sampling fields that chat and plain completions share. Each field is checked separately, so that a refusal names
//! it.

use crate::http::common::error::Problem;
use autodidact_engine::SamplingParams;
use serde::Deserialize;
use utoipa::ToSchema;

/// The most samples of one prompt.
const MOST_SAMPLES: usize = 16;
/// The most stop strings; OpenAI allows four.
const MOST_STOPS: usize = 16;

#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct SamplingFields {
    /// Sampling temperature; 0 takes the most likely token. Default 1.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    /// Sample from the fewest tokens that together have this probability; 0 takes the most likely token. Default 1.
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    /// Sample only from this many most likely tokens; 0 and -1 take all (not a field of OpenAI's).
    #[schema(minimum = -1)]
    top_k: Option<i64>,
    /// Number of answers. Default 1.
    #[schema(minimum = 1, maximum = 16)]
    n: Option<usize>,
    /// The same request with the same seed on an idle server gives the same answer.
    seed: Option<i64>,
    /// Up to 16 strings that end the answer. The answer does not contain them.
    stop: Option<Stop>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f32>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f32>,
    /// 1 changes nothing (not a field of OpenAI's).
    #[schema(minimum = 0.001, maximum = 1000)]
    repetition_penalty: Option<f32>,
    /// Do not stop at the end-of-sequence token; for measurements (not a field of OpenAI's).
    ignore_eos: Option<bool>,
    /// Name the tokens of log-probabilities as `token_id:123` (not a field of OpenAI's).
    return_tokens_as_token_ids: Option<bool>,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

impl SamplingFields {
    /// Greedy sampling: always the most likely token.
    pub fn greedy() -> Self {
        SamplingFields {
            temperature: Some(0.0),
            ..Default::default()
        }
    }

    /// Whether log-probabilities name tokens by id.
    pub fn token_ids(&self) -> bool {
        self.return_tokens_as_token_ids.unwrap_or(false)
    }

    /// The number of samples (`n`).
    pub fn samples(&self) -> Result<usize, Problem> {
        let n = self.n.unwrap_or(1);
        check((1..=MOST_SAMPLES).contains(&n), "n", n, "from 1 to 16")?;
        Ok(n)
    }

    /// `max_tokens`: at least 1 ([`check_limit`]).
    pub fn params(
        &self,
        max_tokens: usize,
        logprobs: Option<usize>,
    ) -> Result<SamplingParams, Problem> {
        let temperature = self.temperature.unwrap_or(1.0);
        let fits = (0.0..=2.0).contains(&temperature);
        check(fits, "temperature", temperature, "from 0 to 2")?;
        let top_p = self.top_p.unwrap_or(1.0);
        let fits = (0.0..=1.0).contains(&top_p);
        check(fits, "top_p", top_p, "from 0 to 1")?;
        let top_k = match self.top_k.unwrap_or(0) {
            -1 | 0 => None,
            k => {
                check(k > 0, "top_k", k, "at least 1, or 0 for all tokens")?;
                Some(usize::try_from(k).unwrap_or(usize::MAX))
            }
        };
        let penalty = |field, value: Option<f32>| {
            let value = value.unwrap_or(0.0);
            check((-2.0..=2.0).contains(&value), field, value, "from -2 to 2").map(|()| value)
        };
        let repetition_penalty = self.repetition_penalty.unwrap_or(1.0);
        let fits = (0.001..=1000.0).contains(&repetition_penalty);
        let range = "from 0.001 to 1000";
        check(fits, "repetition_penalty", repetition_penalty, range)?;
        Ok(SamplingParams {
            temperature,
            // One token is the fewest, however little probability is asked for.
            top_p: top_p.max(f32::MIN_POSITIVE),
            top_k,
            seed: self.seed()?,
            max_tokens,
            stop: self.stops()?,
            logprobs,
            frequency_penalty: penalty("frequency_penalty", self.frequency_penalty)?,
            presence_penalty: penalty("presence_penalty", self.presence_penalty)?,
            repetition_penalty,
            ignore_eos: self.ignore_eos.unwrap_or(false),
            grammar: None,
        })
    }

    fn stops(&self) -> Result<Vec<String>, Problem> {
        let stops = match &self.stop {
            None => return Ok(Vec::new()),
            // Some clients send an empty field for none.
            Some(Stop::One(stop)) if stop.is_empty() => return Ok(Vec::new()),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Many(stops)) => stops.clone(),
        };
        if stops.len() > MOST_STOPS || stops.iter().any(String::is_empty) {
            let detail = "stop is one string or up to 16, none of them empty.";
            return Err(Problem::invalid("stop", detail));
        }
        Ok(stops)
    }

    fn seed(&self) -> Result<u64, Problem> {
        match self.seed {
            Some(seed) => Ok(seed as u64),
            None => getrandom::u64().map_err(Problem::internal),
        }
    }
}

/// Refuses an answer without a token. `field`: the name that the request gives to the most tokens.
pub fn check_limit(field: &'static str, tokens: Option<usize>) -> Result<(), Problem> {
    check(tokens != Some(0), field, 0, "at least 1")
}

fn check(
    fits: bool,
    field: &'static str,
    value: impl std::fmt::Display,
    range: &str,
) -> Result<(), Problem> {
    match fits {
        true => Ok(()),
        false => Err(Problem::invalid(
            field,
            format!("{field} is {value}; it must be {range}."),
        )),
    }
}
