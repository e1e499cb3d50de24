//! The common arguments of the tables: passages, seeds, model and settings.

use super::helpers::{self, HelperArgs};
use super::terminal::Terminal;
use crate::cli::open::{ModelArgs, Opened};
use autodidact::learn::grading::grader::Grader;
use autodidact::learn::knowledge::datasets::{self, Entry};
use autodidact::learn::knowledge::self_edit::from_text;
use autodidact::learn::options::self_edit::{SelfEditKind, Writer};
use autodidact::learn::options::update::IngestOptions;
use autodidact::pool::LocalModel;
use autodidact::study::compare::{Arm, EvalPassage};
use autodidact::study::settings::{Keyed, TableSettings, teacher_digest};
use autodidact::study::table_journal::TableJournal;
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Data {
    /// JSON list of {title, context (or text), questions: [{question, answer}]}, or SQuAD v1.1 or v2.0, as published or
    /// in Hugging Face's rows. JSON Lines too.
    #[arg(long)]
    passages: PathBuf,
    /// JSON list of {title, context, completions: [text]}: a stronger model's self-edits.
    #[arg(long)]
    teacher: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// At most this many passages.
    #[arg(long)]
    limit: Option<usize>,
    /// Seeds, comma-separated, each at most once.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub seeds: Vec<u64>,
    /// Learning settings that override the model's own, as JSON: {"training": {"epochs": 5}}.
    #[arg(long, default_value = "{}")]
    set: String,
    /// Directory for the table (Markdown, JSON and plots) and for every measurement as soon as it is made. An
    /// interrupted command that is run again continues there. A later command may add seeds or arms (`knowledge` and
    /// `cpt`), and passages or a teacher (`knowledge`): it measures only what is new. The table shows the seeds, arms
    /// and passages of the last command.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    helpers: HelperArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long)]
    pub json: bool,
}

/// The model and the data of a table, ready to measure.
pub struct Bench {
    pub id: String,
    pub model: LocalModel,
    pub options: IngestOptions,
    pub cases: Vec<EvalPassage>,
    pub seeds: Vec<u64>,
    pub journal: TableJournal,
    pub helpers: helpers::Opened,
    pub about: TableSettings,
    pub out: Option<PathBuf>,
    pub json: bool,
}

/// Fails if the settings name a policy, a teacher or a judge. A policy is an adapter of a server; the teacher's row and
/// the judge's column have arguments of their own.
pub fn check(options: &IngestOptions) -> Result<(), String> {
    let reason = if options.self_edit.policy.is_some() {
        "self_edit.policy names an adapter of a server, and a table has none; `reproduce knowledge --rounds` adds rows \
         for policies that practise there"
    } else if options.self_edit.writer == Writer::Teacher {
        "self_edit.writer: a teacher's notes are a row of their own: leave this out and give --teacher FILE or \
         --teacher-model MODEL"
    } else if options.gate.grader == Grader::Judge {
        "gate.grader: a table is graded by words: name one of exact, contains, recall, token_f1 here; --judge MODEL \
         adds a column"
    } else {
        return Ok(());
    };
    Err(reason.into())
}

impl Data {
    /// The file of passages.
    pub fn passages(&self) -> &Path {
        &self.passages
    }

    /// Fails if a judge is given, for tables without a judge's column.
    pub fn refuse_judge(&self) -> Result<(), String> {
        match self.helpers.judge {
            Some(_) => Err("--judge: this table has no column for a judge".into()),
            None => Ok(()),
        }
    }

    /// Fails if a teacher is given, for tables without a teacher's row.
    pub fn refuse_teacher(&self) -> Result<(), String> {
        match self.has_teacher() {
            true => Err("--teacher, --teacher-model: this table has no row for a teacher".into()),
            false => Ok(()),
        }
    }

    /// Opens the model, the data and the table's journal. `more`: the table's own settings. Later commands with the
    /// same `--out` may change only `arms` in them.
    pub fn open(self, keyed: Keyed, more: Value) -> Result<Bench, String> {
        let set = serde_json::from_str(&self.set).map_err(|e| format!("--set: {e}"))?;
        distinct(&self.seeds)?;
        let mut cases = self.cases()?;
        let taught = self.has_teacher();
        let teacher = self.teacher.as_ref().map(|_| teacher_digest(&cases));
        let Opened {
            id,
            model,
            learning,
            text_models,
        } = self.model.open()?;
        let options = learning.under(&set, None).map_err(|e| e.to_string())?;
        check(&options)?;
        let mut helpers = self.helpers.open(&text_models)?;
        let named = cases.iter().map(|c| (&c.passage, c.questions.as_slice()));
        let mut about = TableSettings {
            model: id.clone(),
            passages: cases.len(),
            questions: cases.iter().map(|c| c.questions.len()).sum(),
            passages_digest: datasets::digest(named),
            seeds: self.seeds.clone(),
            options: options.clone(),
            helpers: helpers.names(),
            teacher,
            more,
        };
        let journal = TableJournal::open(
            self.out.as_deref(),
            &about.fixed(keyed),
            model.shape(),
            Box::new(Terminal::default()),
        )?;
        let seed = self.seeds.first().copied().unwrap_or_default();
        helpers.write_edits(&model, &mut cases, &options.self_edit, seed, &journal)?;
        about.teacher = taught.then(|| teacher_digest(&cases));
        Ok(Bench {
            id,
            model,
            options,
            cases,
            seeds: self.seeds,
            journal,
            helpers,
            about,
            out: self.out,
            json: self.json,
        })
    }

    /// Whether a teacher's self-edits are given, or a teacher model is to write them.
    pub fn has_teacher(&self) -> bool {
        self.teacher.is_some() || self.helpers.teacher_model.is_some()
    }

    fn cases(&self) -> Result<Vec<EvalPassage>, String> {
        let teacher = match &self.teacher {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let entries = read(&self.passages)?.into_iter().skip(self.skip);
        let cases = entries.take(self.limit.unwrap_or(usize::MAX)).map(|e| {
            let edits = teacher.iter().filter(|t| t.passage.text == e.passage.text);
            let edits = edits.flat_map(|t| &t.completions).zip(0..);
            let edit = |(text, seed): (&String, u64)| {
                from_text(SelfEditKind::Implications, text.clone(), seed)
            };
            EvalPassage {
                teacher: edits.map(edit).collect(),
                passage: e.passage,
                questions: e.questions,
            }
        });
        let cases: Vec<EvalPassage> = cases.collect();
        let without = || cases.iter().filter(|c| c.teacher.is_empty());
        match (&self.teacher, without().next()) {
            (Some(_), Some(first)) => Err(format!(
                "--teacher: it has no notes of {} of {} passages (the first is {:?}, told apart by `context`)",
                without().count(),
                cases.len(),
                first.passage.title
            )),
            _ => Ok(cases),
        }
    }
}

/// Fails if a seed is given twice: the same measurement twice is no evidence.
pub fn distinct(seeds: &[u64]) -> Result<(), String> {
    let mut sorted = seeds.to_vec();
    sorted.sort();
    match sorted.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(format!("--seeds: {} is there twice", two[0])),
        None => Ok(()),
    }
}

pub fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let dataset = datasets::read(path).map_err(|e| e.to_string())?;
    if dataset.unanswerable > 0 {
        let (path, count) = (path.display(), dataset.unanswerable);
        eprintln!("{path}: {count} questions that their passage does not answer are left out");
    }
    Ok(dataset.entries)
}

/// The arms of these names, or without names all default arms. The teacher's arm needs a teacher.
pub fn arms(names: &[String], teacher: bool) -> Result<Vec<Arm>, String> {
    let known = |a: &String| {
        let unknown = || {
            let all: Vec<_> = Arm::all().map(Arm::name).collect();
            format!("--arms: {a:?} is not an arm; they are {}", all.join(", "))
        };
        Arm::from_name(a).ok_or_else(unknown)
    };
    let mut arms: Vec<Arm> = match names {
        [] => Arm::ALL.to_vec(),
        names => names.iter().map(known).collect::<Result<_, _>>()?,
    };
    if !teacher && !names.is_empty() && arms.contains(&Arm::Teacher) {
        return Err(
            "--arms: the teacher's row needs --teacher FILE or --teacher-model MODEL".into(),
        );
    }
    arms.retain(|arm| teacher || *arm != Arm::Teacher);
    Ok(arms)
}
