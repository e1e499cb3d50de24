//! `adapter_config.json` as it is read, by an allow-list: an entry that can change what an adapter computes is
//! understood here, or accepted at a value that asks for nothing, or refused by its name. So entries of later
//! versions of PEFT are never ignored in silence. The list was made from PEFT 0.21.2.

use super::CONFIG_FILE;
use super::fields::{Field, Fields};
use super::patterns::{
    Module, Names, Pattern, Patterns, Target, Targets, family_name, is_ending, layer_patterns,
};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// What an adapter's configuration asks for.
pub struct PeftConfig {
    pub rank: usize,
    pub alpha: f32,
    pub rank_pattern: Patterns<usize>,
    pub alpha_pattern: Patterns<f32>,
    /// The scale is alpha / √rank instead of alpha / rank.
    pub use_rslora: bool,
    pub use_dora: bool,
    pub lora_bias: bool,
    /// Whether tied tables stay tied under the adapter.
    pub ensure_weight_tying: bool,
    pub targets: Targets,
}

/// Entries that say where an adapter comes from or how it was trained, and that nothing computed from finished
/// tensors depends on. The sub-configurations of initialisations are among them: `init_lora_weights` decides.
const NO_EFFECT: [&str; 16] = [
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    // Read elsewhere, or checked by their own names.
    "bias",
    "init_lora_weights",
    "task_type",
];

/// Entries that are read into [`PeftConfig`].
const UNDERSTOOD: [&str; 15] = [
    "alpha_pattern",
    "ensure_weight_tying",
    "exclude_modules",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_bias",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_dora",
    "use_rslora",
    "fan_in_fan_out",
];

/// Entries of another computation, accepted at a neutral value alone, with the reason. `{family}` stands for the
/// model's family.
const REFUSED: [(&str, &str); 10] = [
    (
        "alora_invocation_tokens",
        "an activated LoRA acts from its invocation tokens on; it must be null",
    ),
    (
        "arrow_config",
        "routing between adapters (Arrow) is not supported; it must be null",
    ),
    (
        "kasa_config",
        "KaSA truncates the base weights; it must be null",
    ),
    (
        "layer_replication",
        "the served {family} model has its own layers, each once; it must be null",
    ),
    (
        "megatron_config",
        "{family} models have no Megatron layers; it must be null",
    ),
    (
        "monteclora_config",
        "Monte Carlo sampling of the weights is not supported; it must be null",
    ),
    (
        "target_parameters",
        "{family} models have no bare parameters (of experts) to adapt; it must be null",
    ),
    (
        "trainable_token_indices",
        "single trained tokens are not supported; it must be null. Save the whole table (modules_to_save: embed_tokens)",
    ),
    (
        "use_bdlora",
        "block-diagonal factors are not supported; it must be null",
    ),
    (
        "use_qalora",
        "QALoRA pools the input before A; it must be false",
    ),
];

/// The most bytes of the file. PEFT writes some kilobytes, with a pattern for every module some tens of them.
const LARGEST: usize = 1 << 20;

/// A whole module that an adapter may replace.
const WHOLE: [Module; 2] = [Module::Embedding, Module::Head];

impl PeftConfig {
    /// Reads and checks the configuration for a model.
    ///
    /// # Errors
    /// [`Error::Adapter`] names the entry, what is wrong, and what would be right.
    pub fn read(bytes: &[u8], model: &ModelConfig) -> Result<Self> {
        if bytes.len() > LARGEST {
            return Err(Error::Adapter(format!(
                "{CONFIG_FILE} has {} bytes, {LARGEST} at most are read",
                bytes.len()
            )));
        }
        let Fields(fields) = serde_json::from_slice(bytes).map_err(|e| {
            Error::Adapter(format!("{CONFIG_FILE} is not a PEFT configuration: {e}"))
        })?;
        // Of an entry written twice the last counts, as in Python.
        let entries = Entries(fields.into_iter().collect());
        entries.check_computation(model)?;
        let whole = entries.modules_to_save()?;
        let targets = Targets {
            targets: entries.target_modules(model)?,
            exclude: entries.names("exclude_modules")?,
            layers: entries.layers()?,
            whole,
        };
        Ok(PeftConfig {
            rank: entries.rank()?,
            alpha: entries.alpha()?,
            rank_pattern: entries.pattern("rank_pattern", "a positive whole number", rank_of)?,
            alpha_pattern: entries.pattern("alpha_pattern", "a finite number", alpha_of)?,
            use_rslora: entries.flag("use_rslora")?,
            use_dora: entries.flag("use_dora")?,
            lora_bias: entries.flag("lora_bias")?,
            ensure_weight_tying: entries.flag("ensure_weight_tying")?,
            targets,
        })
    }

    /// The rank of a module's pair, and the entry that says so.
    pub fn rank_of(&self, module: &str) -> Result<(usize, String)> {
        Ok(match self.rank_pattern.find(module)? {
            Some((key, rank)) => (rank, format!("rank_pattern {key:?} = {rank}")),
            None => (self.rank, format!("r = {}", self.rank)),
        })
    }

    /// The alpha that gives a module's scale as alpha / rank, whatever the stabilisation.
    pub fn plain_alpha(&self, module: &str, rank: usize) -> Result<f32> {
        let found = self.alpha_pattern.find(module)?;
        let alpha = found.map_or(self.alpha, |(_, alpha)| alpha);
        Ok(match self.use_rslora {
            true => alpha * (rank as f32).sqrt(),
            false => alpha,
        })
    }
}

struct Entries(BTreeMap<String, Field>);

impl Entries {
    /// Refuses what this engine would compute otherwise.
    fn check_computation(&self, model: &ModelConfig) -> Result<()> {
        let family = family_name(model.family);
        match self.get("peft_type") {
            Some(Field::Plain(Value::String(kind))) if kind == "LORA" => {}
            None => return Err(wrong("peft_type is missing; it must be \"LORA\"".into())),
            Some(other) => {
                return Err(wrong(format!(
                    "peft_type is {other}, only \"LORA\" is supported (PEFT's save_as_lora converts others)"
                )));
            }
        }
        match self.get("task_type") {
            None => {}
            Some(Field::Plain(Value::String(task))) if task == "CAUSAL_LM" => {}
            Some(other) => {
                return Err(wrong(format!(
                    "task_type is {other}; a {family} model here is a causal language model, so it must be \
                     \"CAUSAL_LM\" or null"
                )));
            }
        }
        self.check_initialisation()?;
        match self.get("bias") {
            None => {}
            Some(Field::Plain(Value::String(bias))) if bias == "none" => {}
            Some(other) if model.qkv_bias => {
                return Err(wrong(format!(
                    "bias is {other}: trained biases of the base are not supported, it must be \"none\""
                )));
            }
            Some(other) => {
                return Err(wrong(format!(
                    "bias is {other}, but {family} models have no biases: it must be \"none\""
                )));
            }
        }
        if self.flag("fan_in_fan_out")? {
            return Err(wrong(format!(
                "fan_in_fan_out is true, but {family} models have no Conv1D layers: it must be false"
            )));
        }
        for (key, field) in &self.0 {
            let known = |list: &[&str]| list.contains(&key.as_str());
            if known(&NO_EFFECT) || known(&UNDERSTOOD) || field.is_neutral() {
                continue;
            }
            let reason = REFUSED.iter().find(|(k, _)| k == key);
            return Err(wrong(match reason {
                Some((_, reason)) => {
                    format!("{key} is {field}: {}", reason.replace("{family}", family))
                }
                None => format!(
                    "{key} is {field}: this entry is not known here and could change what the adapter computes; \
                     it must be null, false or empty"
                ),
            }));
        }
        Ok(())
    }

    /// Some initialisations change the base weights, so that their tensors belong to other weights.
    fn check_initialisation(&self) -> Result<()> {
        let Some(field) = self.get("init_lora_weights") else {
            return Ok(());
        };
        let text = match field {
            Field::Plain(Value::Bool(_)) => return Ok(()),
            Field::Plain(Value::String(text)) => text.to_lowercase(),
            other => {
                return Err(wrong(format!(
                    "init_lora_weights is {other}; it must be true"
                )));
            }
        };
        let remedy = match text.as_str() {
            "gaussian" | "eva" | "orthogonal" => return Ok(()),
            "loftq" => "its base was quantised by LoftQ. Merge it into that base",
            "mica" => {
                "MiCA's B is frozen and made of the base. Convert it to plain LoRA (PEFT's save_as_lora)"
            }
            "olora" | "corda" | "lora_ga" => CONVERT,
            pissa if pissa.starts_with("pissa") => CONVERT,
            _ => {
                return Err(wrong(format!(
                    "init_lora_weights is {field}, which is not known here: it must be true, false, \"gaussian\", \
                     \"eva\" or \"orthogonal\""
                )));
            }
        };
        Err(wrong(format!("init_lora_weights is {field}: {remedy}")))
    }

    fn rank(&self) -> Result<usize> {
        match self.get("r") {
            None => Ok(DEFAULT_RANK),
            // With a pattern for every module r says nothing, so 0 is refused only where it is used.
            Some(Field::Plain(value)) if value.as_u64().is_some() => {
                Ok(value.as_u64().unwrap_or_default() as usize)
            }
            Some(other) => Err(wrong(format!(
                "r is {other}; it must be a positive whole number"
            ))),
        }
    }

    fn alpha(&self) -> Result<f32> {
        match self.get("lora_alpha") {
            None => Ok(DEFAULT_ALPHA),
            Some(field) => match field {
                Field::Plain(value) => alpha_of(value),
                Field::Map(_) => None,
            }
            .ok_or_else(|| wrong(format!("lora_alpha is {field}; it must be a finite number"))),
        }
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            None => Ok(false),
            Some(Field::Plain(Value::Bool(value))) => Ok(*value),
            Some(other) => Err(wrong(format!("{key} is {other}; it must be true or false"))),
        }
    }

    fn pattern<T: Copy>(
        &self,
        key: &str,
        right: &str,
        read: fn(&Value) -> Option<T>,
    ) -> Result<Patterns<T>> {
        let entries = match self.get(key) {
            None => &[][..],
            Some(Field::Map(entries)) => entries,
            Some(other) => {
                return Err(wrong(format!(
                    "{key} is {other}; it must map names of modules to {right}"
                )));
            }
        };
        let entry = |(name, value): &(String, Value)| match read(value) {
            Some(read) => Ok((name.clone(), read)),
            None => Err(wrong(format!(
                "{key} has {value} for {name:?}; it must be {right}"
            ))),
        };
        Patterns::new(key, entries.iter().map(entry).collect::<Result<_>>()?)
    }

    /// `null`, a regular expression, or a list of names.
    fn names(&self, key: &str) -> Result<Option<Names>> {
        match self.get(key) {
            None => Ok(None),
            Some(Field::Plain(Value::String(text))) if text.is_empty() => Ok(None),
            Some(Field::Plain(Value::String(text))) => Names::pattern(key, text).map(Some),
            Some(_) => Ok(Some(Names::List(self.list(key)?))),
        }
    }

    /// A list of texts; empty for null.
    fn list(&self, key: &str) -> Result<Vec<String>> {
        let wrong = |other: &Field| wrong(format!("{key} is {other}; it must be a list of names"));
        let Some(field) = self.get(key) else {
            return Ok(Vec::new());
        };
        let Field::Plain(Value::Array(items)) = field else {
            return Err(wrong(field));
        };
        let texts = items.iter().map(|item| item.as_str().map(str::to_string));
        texts.collect::<Option<_>>().ok_or_else(|| wrong(field))
    }

    fn target_modules(&self, model: &ModelConfig) -> Result<Option<Target>> {
        match self.names("target_modules")? {
            None => Ok(None),
            Some(Names::Pattern(regex)) => {
                let text = self.get("target_modules").map(ToString::to_string);
                Ok(Some(
                    match text.is_some_and(|t| t.eq_ignore_ascii_case("\"all-linear\"")) {
                        true => Target::AllLinear,
                        false => Target::Names(Names::Pattern(regex)),
                    },
                ))
            }
            Some(Names::List(list)) => {
                let modules: Vec<String> = Module::all(model).map(Module::name).collect();
                let known = |entry: &String| modules.iter().any(|m| is_ending(m, entry));
                if let Some(unknown) = list.iter().find(|entry| !known(entry)) {
                    return Err(wrong(format!(
                        "target_modules names {unknown:?}, which this {} model of {} layers does not have; its \
                         modules are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj of each \
                         layer, embed_tokens and lm_head",
                        family_name(model.family),
                        model.num_layers
                    )));
                }
                Ok(Some(Target::Names(Names::List(list))))
            }
        }
    }

    fn modules_to_save(&self) -> Result<Vec<String>> {
        let list = self.list("modules_to_save")?;
        let unknown = |entry: &&String| !WHOLE.iter().any(|m| is_ending(&m.name(), entry));
        match list.iter().find(unknown) {
            Some(other) => Err(wrong(format!(
                "modules_to_save names {other:?}; of whole modules embed_tokens and lm_head are supported"
            ))),
            None => Ok(list),
        }
    }

    /// `layers_to_transform` with `layers_pattern`; `None` for all layers.
    fn layers(&self) -> Result<Option<(Vec<usize>, Vec<Pattern>)>> {
        let wrong = |key: &str, right: &str| {
            let field = self.get(key).map(ToString::to_string).unwrap_or_default();
            wrong(format!("{key} is {field}; {right}"))
        };
        let number = |v: &Value| v.as_u64().map(|v| v as usize);
        let layers = match self.get("layers_to_transform") {
            None => Vec::new(),
            Some(Field::Plain(Value::Array(items))) => items
                .iter()
                .map(number)
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("layers_to_transform", "it must list layers by number"))?,
            Some(Field::Plain(value)) if value.is_u64() => number(value).into_iter().collect(),
            Some(_) => {
                return Err(wrong(
                    "layers_to_transform",
                    "it must list layers by number",
                ));
            }
        };
        let pattern = match self.get("layers_pattern") {
            Some(Field::Plain(Value::String(one))) if !one.is_empty() => vec![one.clone()],
            Some(Field::Plain(Value::String(_))) | None => Vec::new(),
            Some(_) => self.list("layers_pattern")?,
        };
        let text = matches!(
            self.get("target_modules"),
            Some(Field::Plain(Value::String(_)))
        );
        if layers.is_empty() && !pattern.is_empty() {
            return Err(wrong("layers_pattern", "it needs layers_to_transform, too"));
        }
        if layers.is_empty() {
            return Ok(None);
        }
        if text {
            return Err(wrong(
                "layers_to_transform",
                "it must be null where target_modules is a regular expression",
            ));
        }
        Ok(Some((layers, layer_patterns(&pattern)?)))
    }

    /// An entry that is there and not null.
    fn get(&self, key: &str) -> Option<&Field> {
        let null = Field::Plain(Value::Null);
        self.0.get(key).filter(|field| **field != null)
    }
}

const CONVERT: &str = "the initialisation changed the base weights that this adapter belongs to. Save it as converted \
    plain LoRA (PEFT's save_pretrained with path_initial_model_for_weight_conversion), which writes true here";

/// PEFT's values for entries that a file leaves out.
const DEFAULT_RANK: usize = 8;
const DEFAULT_ALPHA: f32 = 8.0;

fn rank_of(value: &Value) -> Option<usize> {
    value.as_u64().filter(|r| *r > 0).map(|r| r as usize)
}

fn alpha_of(value: &Value) -> Option<f32> {
    value.as_f64().map(|a| a as f32).filter(|a| a.is_finite())
}

fn wrong(reason: String) -> Error {
    Error::Adapter(format!("{CONFIG_FILE}: {reason}"))
}
