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
    Pattern(Box<Pattern>),
}

impl Names {
    pub fn pattern(key: &str, text: &str) -> Result<Self> {
        let whole = format!(r"\A(?:{text})\z");
        Ok(Names::Pattern(Box::new(Pattern::new(key, text, &whole)?)))
    }

    /// Whether a name is in the list or ends with an entry after a dot, or is matched as a whole.
    fn match_ending(&self, name: &str) -> Result<bool> {
        match self {
            Names::List(entries) => Ok(entries.iter().any(|e| is_ending(name, e))),
            Names::Pattern(pattern) => pattern.matches(name),
        }
    }
}

/// Which modules carry LoRA pairs.
pub struct Targets {
    /// `None`: whatever the file has tensors of.
    pub targets: Option<Target>,
    pub exclude: Option<Names>,
    /// The layers to transform, if not all, and the names that may stand before a layer's number.
    pub layers: Option<(Vec<usize>, Vec<Pattern>)>,
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
    /// Whether PEFT would give the module a pair. Fails if an expression takes too many steps to tell.
    pub fn covers(&self, module: Module) -> Result<bool> {
        let name = module.name();
        if self.whole.iter().any(|w| is_ending(&name, w)) {
            return Ok(false);
        }
        if let Some(exclude) = &self.exclude
            && exclude.match_ending(&name)?
        {
            return Ok(false);
        }
        match &self.targets {
            None => Ok(true),
            Some(Target::AllLinear) => Ok(matches!(module, Module::Linear(..))),
            Some(Target::Names(names)) => {
                let by_name = matches!(names, Names::List(list) if list.contains(&name));
                Ok(by_name || (names.match_ending(&name)? && self.in_layers(&name)?))
            }
        }
    }

    fn in_layers(&self, name: &str) -> Result<bool> {
        let Some((layers, patterns)) = &self.layers else {
            return Ok(true);
        };
        for pattern in patterns {
            if let Some(index) = pattern.layer(name)? {
                return Ok(layers.contains(&index));
            }
        }
        Ok(false)
    }
}

/// The expressions that find the layer's number in a module's name, for `layers_pattern`.
pub fn layer_patterns(names: &[String]) -> Result<Vec<Pattern>> {
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
        .map(|(text, source)| Pattern::new("layers_pattern", text, source));
    compiled.collect()
}

/// `rank_pattern` or `alpha_pattern`: the first key that matches decides.
pub struct Patterns<T>(Vec<(Pattern, T)>);

impl<T: Copy> Patterns<T> {
    /// Compiles the keys, in the order in which they are tried.
    pub fn new(key: &str, entries: Vec<(String, T)>) -> Result<Self> {
        check_count(key, entries.len())?;
        let compile = |(text, value): (String, T)| {
            let pattern = Pattern::new(key, &text, &format!(r"\A(.*\.)?({text})$"))?;
            Ok((pattern, value))
        };
        Ok(Patterns(
            entries.into_iter().map(compile).collect::<Result<_>>()?,
        ))
    }

    /// The key that decides for a module, and its value. Fails if a key takes too many steps to tell.
    pub fn find(&self, module: &str) -> Result<Option<(&str, T)>> {
        for (pattern, value) in &self.0 {
            if pattern.matches(module)? {
                return Ok(Some((&pattern.text, *value)));
            }
        }
        Ok(None)
    }
}

/// Whether `name` is `ending`, or ends with it after a dot.
pub fn is_ending(name: &str, ending: &str) -> bool {
    let before = name.strip_suffix(ending);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
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

/// A regular expression, with the entry and the text that it comes from.
pub struct Pattern {
    key: String,
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `source`, which `text` of the entry `key` became.
    fn new(key: &str, text: &str, source: &str) -> Result<Self> {
        Self::within(MOST_STEPS, key, text, source)
    }

    fn within(steps: usize, key: &str, text: &str, source: &str) -> Result<Self> {
        let mut builder = RegexBuilder::new(source);
        builder
            .backtrack_limit(steps)
            .delegate_size_limit(MOST_COMPILED);
        let regex = builder.build().map_err(|e| {
            Error::Adapter(format!(
                "{CONFIG_FILE}: {key} has {text:?}, which is not a regular expression that can be read: {e}"
            ))
        })?;
        Ok(Pattern {
            key: key.to_owned(),
            text: text.to_owned(),
            regex,
        })
    }

    fn matches(&self, name: &str) -> Result<bool> {
        self.regex.is_match(name).map_err(|_| self.given_up(name))
    }

    /// The layer's number in a name that matches.
    fn layer(&self, name: &str) -> Result<Option<usize>> {
        let found = self.regex.captures(name).map_err(|_| self.given_up(name))?;
        let index = found.as_ref().and_then(|found| found.name("idx"));
        Ok(index.and_then(|index| index.as_str().parse().ok()))
    }

    fn given_up(&self, name: &str) -> Error {
        Error::Adapter(format!(
            "{CONFIG_FILE}: {} has {:?}, which takes too many steps to compare with {name}; write it without repetitions \
             within each other, or as a list of names",
            self.key, self.text
        ))
    }
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
        assert!(list.covers(Q1).unwrap() && list.covers(UP11).unwrap());
        assert!(!list.covers(Module::Linear(1, Projection::Up)).unwrap());
        assert!(!targets(names(&["proj", "_proj"])).covers(Q1).unwrap());
        let text = |t: &str| targets(Some(Target::Names(Names::pattern("k", t).unwrap())));
        assert!(text(r".*\.(q|v)_proj").covers(Q1).unwrap());
        assert!(!text("q_proj").covers(Q1).unwrap());
        assert!(text(r"(?!.*layers\.0).*q_proj").covers(Q1).unwrap());
        assert!(targets(Some(Target::AllLinear)).covers(UP11).unwrap());
        assert!(
            !targets(Some(Target::AllLinear))
                .covers(Module::Head)
                .unwrap()
        );
    }

    #[test]
    fn excluded_modules_and_other_layers_are_not_covered() {
        let mut some = targets(names(&["q_proj", "up_proj"]));
        some.exclude = Some(Names::List(vec!["1.self_attn.q_proj".into()]));
        assert!(
            !some.covers(Q1).unwrap() && some.covers(Module::Linear(2, Projection::Q)).unwrap()
        );
        some.exclude = None;
        some.layers = Some((vec![1], layer_patterns(&[]).unwrap()));
        assert!(some.covers(Q1).unwrap() && !some.covers(UP11).unwrap());
        some.layers = Some((
            vec![1],
            layer_patterns(&["h".into(), "layers".into()]).unwrap(),
        ));
        assert!(some.covers(Q1).unwrap() && !some.covers(UP11).unwrap());
        some.layers = Some((vec![1], layer_patterns(&["blocks".into()]).unwrap()));
        assert!(!some.covers(Q1).unwrap());
        // A module that is named in full is not asked for its layer.
        let mut full = targets(names(&["model.layers.11.mlp.up_proj"]));
        full.layers = Some((vec![1], layer_patterns(&[]).unwrap()));
        assert!(full.covers(UP11).unwrap());
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let find = |keys: &[(&str, usize)], module: Module| {
            let entries = keys.iter().map(|(k, v)| (k.to_string(), *v)).collect();
            let patterns = Patterns::new("rank_pattern", entries).unwrap();
            patterns.find(&module.name()).unwrap().map(|(_, v)| v)
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

    #[test]
    fn an_expression_that_takes_too_many_steps_is_refused_by_name() {
        let source = r"\A(?:.(?!\z))*q_proj\z";
        let pattern = |steps| Pattern::within(steps, "target_modules", ".*q_proj", source).unwrap();
        assert!(pattern(MOST_STEPS).matches(&Q1.name()).unwrap());
        let told = pattern(1).matches(&Q1.name()).unwrap_err().to_string();
        assert!(
            told.contains("target_modules") && told.contains(".*q_proj") && told.contains("steps"),
            "{told}"
        );
        let layers = |steps| {
            Pattern::within(
                steps,
                "layers_pattern",
                "h",
                r"\A(?:.(?!\z))*\.(?P<idx>\d+)\.",
            )
        };
        assert_eq!(
            layers(MOST_STEPS).unwrap().layer(&Q1.name()).unwrap(),
            Some(1)
        );
        assert!(layers(1).unwrap().layer(&Q1.name()).is_err());
        // Nothing that asks goes on with a guess.
        let names = || Names::Pattern(Box::new(pattern(1)));
        assert!(targets(Some(Target::Names(names()))).covers(Q1).is_err());
        let mut excluded = targets(None);
        excluded.exclude = Some(names());
        assert!(excluded.covers(Q1).is_err());
        assert!(Patterns(vec![(pattern(1), 2)]).find(&Q1.name()).is_err());
    }
}
