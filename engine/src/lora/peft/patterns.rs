//! Which modules an adapter's configuration means, by PEFT's own rules (`check_target_module_exists` and
//! `get_pattern_key` of PEFT 0.21): lists match by whole name or by ending, texts are regular expressions over the
//! whole name, and the keys of a pattern are regular expressions over an ending.

use super::CONFIG_FILE;
use crate::config::{Family, ModelConfig, Projection};
use crate::error::{Error, Result};
use fancy_regex::{Regex, RegexBuilder};

/// A module that an adapter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Module {
    Linear(usize, Projection),
    Embedding,
    Head,
}

impl Module {
    /// The module's name in transformers' model: `model.layers.0.self_attn.q_proj` …
    pub fn name(self) -> String {
        match self {
            Module::Linear(layer, p) => format!("model.layers.{layer}.{}", p.path()),
            Module::Embedding => EMBEDDING.into(),
            Module::Head => HEAD.into(),
        }
    }

    /// The module of that name; a layer number may be beyond the model's last.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == EMBEDDING {
            return Some(Module::Embedding);
        }
        if name == HEAD {
            return Some(Module::Head);
        }
        let (layer, path) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let projection = Projection::ALL.into_iter().find(|p| p.path() == path)?;
        Some(Module::Linear(layer.parse().ok()?, projection))
    }

    /// All modules of a model.
    pub fn all(model: &ModelConfig) -> impl Iterator<Item = Module> {
        let layers = 0..model.num_layers;
        let linear = layers.flat_map(|l| Projection::ALL.map(|p| Module::Linear(l, p)));
        linear.chain([Module::Embedding, Module::Head])
    }
}

const EMBEDDING: &str = "model.embed_tokens";
const HEAD: &str = "lm_head";

/// The family's name as people write it.
pub fn family_name(family: Family) -> &'static str {
    match family {
        Family::Llama => "Llama",
        Family::Qwen2 => "Qwen2",
        Family::Qwen3 => "Qwen3",
    }
}

/// A list of names, or a regular expression over whole names.
pub enum Names {
    List(Vec<String>),
    Pattern(Box<Regex>),
}

impl Names {
    pub fn pattern(key: &str, text: &str) -> Result<Self> {
        Ok(Names::Pattern(Box::new(regex(
            key,
            text,
            &format!(r"\A(?:{text})\z"),
        )?)))
    }

    /// Whether a name is in the list or ends with an entry after a dot, or is matched as a whole.
    fn match_ending(&self, name: &str) -> bool {
        match self {
            Names::List(entries) => entries.iter().any(|e| is_ending(name, e)),
            Names::Pattern(regex) => matches(regex, name),
        }
    }
}

/// Which modules carry LoRA pairs.
pub struct Targets {
    /// `None`: whatever the file has tensors of.
    pub targets: Option<Target>,
    pub exclude: Option<Names>,
    /// The layers to transform, if not all, and the names that may stand before a layer's number.
    pub layers: Option<(Vec<usize>, Vec<Regex>)>,
    /// `modules_to_save`: they never carry pairs.
    pub whole: Vec<String>,
}

/// `target_modules`
pub enum Target {
    Names(Names),
    /// `"all-linear"`: every linear layer but the output projection.
    AllLinear,
}

impl Targets {
    /// Whether PEFT would give the module a pair.
    pub fn covers(&self, module: Module) -> bool {
        let name = module.name();
        let excluded = self.exclude.as_ref().is_some_and(|e| e.match_ending(&name));
        if excluded || self.whole.iter().any(|w| is_ending(&name, w)) {
            return false;
        }
        match &self.targets {
            None => true,
            Some(Target::AllLinear) => matches!(module, Module::Linear(..)),
            Some(Target::Names(names)) => {
                let by_name = matches!(names, Names::List(list) if list.contains(&name));
                by_name || (names.match_ending(&name) && self.in_layers(&name))
            }
        }
    }

    fn in_layers(&self, name: &str) -> bool {
        let Some((layers, patterns)) = &self.layers else {
            return true;
        };
        let index = patterns.iter().find_map(|p| {
            let found = p.captures(name).ok()??;
            found.name("idx")?.as_str().parse().ok()
        });
        index.is_some_and(|index: usize| layers.contains(&index))
    }
}

/// The expressions that find the layer's number in a module's name, for `layers_pattern`.
pub fn layer_patterns(names: &[String]) -> Result<Vec<Regex>> {
    check_count("layers_pattern", names.len())?;
    let any = r"\A.*?\.[^.]*\.(?P<idx>\d+)\.".to_string();
    let sources = match names {
        [] => vec![("", any)],
        names => names
            .iter()
            .map(|n| (n.as_str(), format!(r"\A(?:|.*?\.){n}\.(?P<idx>\d+)\.")))
            .collect(),
    };
    let compiled = sources
        .iter()
        .map(|(text, source)| regex("layers_pattern", text, source));
    compiled.collect()
}

/// `rank_pattern` or `alpha_pattern`: the first key that matches decides.
pub struct Patterns<T>(Vec<(String, Regex, T)>);

impl<T: Copy> Patterns<T> {
    /// Compiles the keys, in the order in which they are tried.
    pub fn new(key: &str, entries: Vec<(String, T)>) -> Result<Self> {
        check_count(key, entries.len())?;
        let compile = |(text, value): (String, T)| {
            let regex = regex(key, &text, &format!(r"\A(.*\.)?({text})$"))?;
            Ok((text, regex, value))
        };
        Ok(Patterns(
            entries.into_iter().map(compile).collect::<Result<_>>()?,
        ))
    }

    /// The key that decides for a module, and its value.
    pub fn find(&self, module: &str) -> Option<(&str, T)> {
        let found = self.0.iter().find(|(_, regex, _)| matches(regex, module));
        found.map(|(text, _, value)| (text.as_str(), *value))
    }
}

/// Whether `name` is `ending`, or ends with it after a dot.
pub fn is_ending(name: &str, ending: &str) -> bool {
    let before = name.strip_suffix(ending);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// A match that is given up, for its steps, is none.
fn matches(regex: &Regex, name: &str) -> bool {
    regex.is_match(name).unwrap_or(false)
}

/// The most expressions of one entry: more than any model has modules.
const MOST_EXPRESSIONS: usize = 1024;
/// The most bytes of one compiled expression, and the most steps of matching one name. Names have some fifty characters.
const MOST_COMPILED: usize = 1 << 20;
const MOST_STEPS: usize = 100_000;

fn check_count(key: &str, count: usize) -> Result<()> {
    match count > MOST_EXPRESSIONS {
        true => Err(Error::Adapter(format!(
            "{CONFIG_FILE}: {key} has {count} expressions; {MOST_EXPRESSIONS} at most are read"
        ))),
        false => Ok(()),
    }
}

fn regex(key: &str, text: &str, source: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(source);
    builder
        .backtrack_limit(MOST_STEPS)
        .delegate_size_limit(MOST_COMPILED);
    builder.build().map_err(|e| {
        Error::Adapter(format!(
            "{CONFIG_FILE}: {key} has {text:?}, which is not a regular expression that can be read: {e}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Option<Target> {
        let list = list.iter().map(|s| s.to_string()).collect();
        Some(Target::Names(Names::List(list)))
    }

    fn targets(targets: Option<Target>) -> Targets {
        Targets {
            targets,
            exclude: None,
            layers: None,
            whole: Vec::new(),
        }
    }

    const Q1: Module = Module::Linear(1, Projection::Q);
    const UP11: Module = Module::Linear(11, Projection::Up);

    #[test]
    fn lists_match_by_ending_and_texts_as_a_whole() {
        let list = targets(names(&["q_proj", "layers.11.mlp.up_proj"]));
        assert!(list.covers(Q1) && list.covers(UP11));
        assert!(!list.covers(Module::Linear(1, Projection::Up)));
        assert!(!targets(names(&["proj", "_proj"])).covers(Q1));
        let text = |t: &str| targets(Some(Target::Names(Names::pattern("k", t).unwrap())));
        assert!(text(r".*\.(q|v)_proj").covers(Q1));
        assert!(!text("q_proj").covers(Q1));
        assert!(text(r"(?!.*layers\.0).*q_proj").covers(Q1));
        assert!(targets(Some(Target::AllLinear)).covers(UP11));
        assert!(!targets(Some(Target::AllLinear)).covers(Module::Head));
    }

    #[test]
    fn excluded_modules_and_other_layers_are_not_covered() {
        let mut some = targets(names(&["q_proj", "up_proj"]));
        some.exclude = Some(Names::List(vec!["1.self_attn.q_proj".into()]));
        assert!(!some.covers(Q1) && some.covers(Module::Linear(2, Projection::Q)));
        some.exclude = None;
        some.layers = Some((vec![1], layer_patterns(&[]).unwrap()));
        assert!(some.covers(Q1) && !some.covers(UP11));
        some.layers = Some((
            vec![1],
            layer_patterns(&["h".into(), "layers".into()]).unwrap(),
        ));
        assert!(some.covers(Q1) && !some.covers(UP11));
        some.layers = Some((vec![1], layer_patterns(&["blocks".into()]).unwrap()));
        assert!(!some.covers(Q1));
        // A module that is named in full is not asked for its layer.
        let mut full = targets(names(&["model.layers.11.mlp.up_proj"]));
        full.layers = Some((vec![1], layer_patterns(&[]).unwrap()));
        assert!(full.covers(UP11));
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let find = |keys: &[(&str, usize)], module: Module| {
            let entries = keys.iter().map(|(k, v)| (k.to_string(), *v)).collect();
            let patterns = Patterns::new("rank_pattern", entries).unwrap();
            patterns.find(&module.name()).map(|(_, v)| v)
        };
        let keys = [
            ("layers.1.self_attn.q_proj", 2),
            ("q_proj", 3),
            (".*up_proj", 4),
        ];
        assert_eq!(find(&keys, Q1), Some(2));
        assert_eq!(find(&keys, UP11), Some(4));
        assert_eq!(
            find(&[("q_proj", 3), ("layers.1.self_attn.q_proj", 2)], Q1),
            Some(3)
        );
        // Only an ending after a dot, or the whole name.
        assert_eq!(find(&[("proj", 3), ("layers.1", 4)], Q1), None);
        assert_eq!(
            find(&[("^model.layers.1.self_attn.q_proj", 5)], Q1),
            Some(5)
        );
        assert_eq!(find(&[("^q_proj", 5)], Q1), None);
        assert!(Patterns::new("rank_pattern", vec![("(".to_string(), 1)]).is_err());
    }

    #[test]
    fn expressions_are_bounded() {
        let many = |n: usize| (0..n).map(|i| (format!("m{i}"), i)).collect();
        assert!(Patterns::new("rank_pattern", many(MOST_EXPRESSIONS)).is_ok());
        assert!(Patterns::new("rank_pattern", many(MOST_EXPRESSIONS + 1)).is_err());
        let large = vec![(r"\w{1000}".to_string(), 1)];
        assert!(Patterns::new("rank_pattern", large).is_err());
    }
}
