//! The request body of `/adapt`, with the checks that need no state of the server.

use super::task::TaskBody;
use crate::adapters::AliasName;
use crate::learn::fewshot::self_edit::OutOfRange;
use crate::learn::fewshot::{AdaptOptions, SelfEdit, Task};
use crate::workflows::fields::{object, optional_object};
use crate::workflows::refusal::Refusal;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Default lifetime of a throw-away adapter, in seconds.
const DEFAULT_TTL: u64 = 60 * 60;
const LONGEST_TTL: u64 = 30 * 24 * 60 * 60;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptRequest {
    /// The adapter that chooses the configurations and is trained further. Default: the base
    pub adapter: Option<String>,
    pub task: TaskBody,
    /// The configuration for training. Default: the model writes several, and the best one is used
    #[schema(value_type = Option<SelfEdit>)]
    pub self_edit: Option<Value>,
    #[serde(default, deserialize_with = "optional_object")]
    pub budget: Option<Budget>,
    #[serde(default, deserialize_with = "optional_object")]
    pub keep: Option<Keep>,
    /// Makes the result repeatable on a machine of the same speed
    pub seed: Option<u64>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Time limit of the running job in seconds, 1 to 3600; default 60
    pub seconds: Option<f32>,
    /// Most configurations to compare, 1 to 16; default 3. Fewer are compared if the seconds do not suffice
    pub candidates: Option<usize>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdaptKeep)]
pub struct Keep {
    /// Keep the adapter under this name: a new name, or the name of `adapter`, which then gets a next version
    pub alias: Option<String>,
    /// Without `alias`: delete the adapter after this time (`90s`, `30m`, `12h`, `7d`; at most 30 days; default 1h)
    pub ttl: Option<String>,
}

/// A request with valid fields.
pub struct Adapt {
    pub task: Task,
    pub adapter: Option<AliasName>,
    pub self_edit: Option<SelfEdit>,
    pub options: AdaptOptions,
    /// The name to keep the adapter under, if any.
    pub keep: Option<AliasName>,
    /// Whether a live `keep` alias is trained further even if `adapter` does not name it.
    pub continue_kept: bool,
    /// Lifetime of the adapter in seconds, unless it is kept.
    pub ttl_seconds: Option<u64>,
}

impl AdaptRequest {
    pub fn check(self) -> Result<Adapt, Refusal> {
        let name = |field: &str, text: &str| {
            AliasName::parse(text).map_err(|error| Refusal::from(error).field(field))
        };
        let adapter = self.adapter.as_deref();
        let adapter = adapter.map(|text| name("adapter", text)).transpose()?;
        let self_edit = self.self_edit.filter(|value| !value.is_null());
        let self_edit: Option<SelfEdit> = self_edit.map(|v| object("self_edit", v)).transpose()?;
        if let Some(edit) = &self_edit {
            edit.check().map_err(|e| out_of_range("self_edit", &e))?;
        }
        let Keep { alias, ttl } = self.keep.unwrap_or_default();
        if alias.is_some() && ttl.is_some() {
            let detail = "Either keep.alias keeps the adapter, or keep.ttl says when it goes.";
            return Err(Refusal::invalid("keep", detail));
        }
        let keep = alias.map(|text| name("keep.alias", &text)).transpose()?;
        let ttl = ttl.map(|text| seconds_of(&text)).transpose()?;
        Ok(Adapt {
            task: self.task.check("task")?,
            adapter,
            self_edit,
            options: options(self.budget.unwrap_or_default(), self.seed)?,
            continue_kept: false,
            ttl_seconds: keep.is_none().then_some(ttl.unwrap_or(DEFAULT_TTL)),
            keep,
        })
    }
}

fn options(budget: Budget, seed: Option<u64>) -> Result<AdaptOptions, Refusal> {
    let mut options = AdaptOptions::default();
    options.seconds = budget.seconds.unwrap_or(options.seconds);
    options.candidates = budget.candidates.unwrap_or(options.candidates);
    options.seed = seed.unwrap_or(options.seed);
    options.check().map_err(|e| out_of_range("budget", &e))?;
    Ok(options)
}

/// The refusal of a value out of range. `at`: the field of the options within the request.
fn out_of_range(at: &str, error: &OutOfRange) -> Refusal {
    Refusal::invalid(format!("{at}.{}", error.field), format!("{at}.{error}."))
}

/// Parses `90s`, `30m`, `12h` or `7d` to seconds.
fn seconds_of(text: &str) -> Result<u64, Refusal> {
    let wrong = || {
        let detail =
            format!("'{text}' is not a time to live: write 90s, 30m, 12h or 7d, 30 days at most.");
        Refusal::invalid("keep.ttl", detail)
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let seconds = number
        .checked_mul(unit)
        .filter(|s| (1..=LONGEST_TTL).contains(s));
    seconds.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::fewshot::task::TaskInput;
    use crate::workflows::fields;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const SEEDS: [&str; 3] = [
        r#"{"task":{"kind":"grid","train":[{"input":[[1,2],[3,4]],"output":[[3,1],[4,2]]},
            {"input":[[5,6],[7,8]],"output":[[7,5],[8,6]]}],"test":[{"input":[[9,0],[1,2]]}]},
            "budget":{"seconds":30,"candidates":2},"keep":{"ttl":"10m"},"seed":7}"#,
        r#"{"adapter":"kb","task":{"kind":"text","train":[{"input":"weather in Vell",
            "output":"{\"tool\":\"weather\"}"}],"test":[{"input":"time \u00e9","output":"x"}]},
            "self_edit":{"data_generation":{"use_basic_augmentations":false},
            "training":{"strategy":"train_using_all_tokens","learning_rate":1e-4,
            "num_train_epochs":3}},"keep":{"alias":"kb"}}"#,
        r#"{"task":{"kind":"grid","train":[{"input":[[0]],"output":[[0,1,2,3,4,5,6,7,8,9,0,1,2,3]]}],
            "test":[]}}"#,
    ];

    /// Insertions for mutated bodies: pieces of JSON, and numbers at the edges.
    const SPLINTERS: [&str; 24] = [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "null",
        "[]",
        "{}",
        "true",
        "-1",
        "10",
        "1e999",
        "0.5",
        "18446744073709551616",
        "\"\\ud800\"",
        "\"task\"",
        "\"input\"",
        "[[1],[2,3]]",
        "[[1,2,3]]",
        "\"99d\"",
        "\"\"",
        "\u{7f}",
    ];

    fn read(body: &[u8]) -> Result<Adapt, Refusal> {
        fields::parse::<AdaptRequest>(body)?.check()
    }

    fn mutate(text: &str, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len().max(1)).min(bytes.len());
            let end = (at + rng.random_range(0..12)).min(bytes.len());
            let splinter = SPLINTERS[rng.random_range(0..SPLINTERS.len())].as_bytes();
            match rng.random_range(0..5) {
                0 => bytes
                    .splice(at..end, splinter.iter().copied())
                    .for_each(drop),
                1 => bytes
                    .splice(at..at, splinter.iter().copied())
                    .for_each(drop),
                2 => bytes.drain(at..end).for_each(drop),
                3 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy).for_each(drop);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = rng.random();
                    }
                }
            }
        }
        bytes
    }

    #[test]
    fn no_mutated_task_panics_from_reading_to_asking() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let (mut read_well, mut refused) = (0, 0);
        for case in 0..60_000 {
            let body = mutate(SEEDS[case % SEEDS.len()], &mut rng);
            let Ok(adapt) = read(&body) else {
                refused += 1;
                continue;
            };
            read_well += 1;
            let edit = adapt.self_edit.unwrap_or_default();
            let texts = adapt.task.training(&edit, None, 8, 4096, 1);
            assert!(texts.len() <= 8);
            for n in 0..adapt.task.test_len() {
                for question in adapt.task.questions(TaskInput::Test(n), &edit, 20, 4096, 1) {
                    question.read(&question.prompt.user);
                }
            }
            assert!(adapt.task.longest_answer() >= 1);
        }
        // The mutations met both valid and invalid bodies often.
        assert!(
            read_well > 1_000 && refused > 20_000,
            "{read_well} read, {refused} refused"
        );
    }

    #[test]
    fn what_is_not_mutated_is_read() {
        for seed in SEEDS {
            assert!(read(seed.as_bytes()).is_ok(), "{seed}");
        }
        let first = read(SEEDS[0].as_bytes()).ok().unwrap();
        assert_eq!((first.ttl_seconds, first.keep), (Some(600), None));
        assert_eq!((first.options.seconds, first.options.candidates), (30.0, 2));
        let second = read(SEEDS[1].as_bytes()).ok().unwrap();
        assert_eq!(second.ttl_seconds, None);
        assert_eq!(second.self_edit.unwrap().training.num_train_epochs, 3);
    }
}
