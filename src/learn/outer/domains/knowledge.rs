//! Passages as the outer loop's domain (SEAL §4.2): the policy writes notes, an adapter is trained on
//! them, and the passage's questions are asked closed book.

use crate::learn::fan_out;
use crate::learn::grading::grader::Grader;
use crate::learn::knowledge::author::Author;
use crate::learn::knowledge::closed_book::{
    ANSWER_TOKENS, Answer, answer_all, closed_book, expected, right,
};
use crate::learn::knowledge::phrases::Phrase;
use crate::learn::knowledge::self_edit::{self, SelfEdit};
use crate::learn::knowledge::sequences::{CountTokens, training_texts};
use crate::learn::knowledge::{Passage, Question, pairs, questions};
use crate::learn::options::error::{OptionError, within};
use crate::learn::options::merge::merge;
use crate::learn::options::self_edit::{SelfEditKind, SelfEditOptions};
use crate::learn::options::training::InnerOptions;
use crate::learn::options::update::{EPOCHS_OF_ONE_WORDING, IngestOptions};
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::outer::options::{OuterOptions, Preset};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Training, TrainingText};
use crate::text::words::words;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use utoipa::ToSchema;

/// A passage with what it is tested by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnowledgeContext {
    pub passage: Passage,
    /// The caller's questions, if there are any.
    #[serde(default)]
    pub gold: Vec<Question>,
    /// The questions that candidates are rewarded by: the gold questions, or the model's own.
    #[serde(default)]
    pub probes: Vec<Question>,
}

/// The source of the questions that candidates are rewarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuestionSource {
    /// The context's own questions; the model's, if the context brings none.
    Given,
    /// The model's own questions that passed the round trip, whatever the context brings. Results are still reported on
    /// the context's own questions, if there are any.
    Written,
}

/// The writing of the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WritingOptions {
    pub kind: SelfEditKind,
    pub temperature: f32,
    pub top_p: f32,
    /// Further kinds of self-edit to explore. The candidates of a context are prompted for `kind` and for these kinds
    /// in turn. The policy then learns the kept self-edits as answers to the prompt for `kind`, so it can adopt a kind
    /// that teaches better. Held-out contexts and ingests use the prompt for `kind` only. Allowed kinds, also for
    /// `kind`: rewrite, implications, implications-long, chain-of-thought. There must be fewer than candidates. Empty:
    /// no exploration, as in the paper.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub explore: Vec<SelfEditKind>,
}

impl Default for WritingOptions {
    fn default() -> Self {
        WritingOptions {
            kind: SelfEditKind::Implications,
            // Candidates must differ to be chosen from; at 1.0 small models invent.
            temperature: 0.7,
            top_p: 0.95,
            explore: Vec::new(),
        }
    }
}

/// The knobs of this domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KnowledgeOptions {
    pub self_edit: WritingOptions,
    /// The inner loop: one candidate's training.
    pub training: InnerOptions,
    pub questions: QuestionSource,
    /// Questions that the model writes for a context. 1 to 32.
    pub probes: usize,
    pub grader: Grader,
}

impl KnowledgeOptions {
    /// `ingest`: the settings tuned for the model, which the default preset learns with.
    pub fn preset(preset: Preset, ingest: &IngestOptions) -> Self {
        let (temperature, training) = match preset {
            Preset::Default => (0.7, ingest.training.inner(EPOCHS_OF_ONE_WORDING)),
            Preset::Paper => (
                1.0,
                InnerOptions {
                    rank: 32,
                    alpha: 64.0,
                    learning_rate: 1e-3,
                    epochs: 10,
                    batch_size: 1,
                    upper_layers: None,
                    early_stop: None,
                    lora_plus: 1.0,
                },
            ),
        };
        KnowledgeOptions {
            self_edit: WritingOptions {
                temperature,
                ..Default::default()
            },
            training,
            questions: QuestionSource::Given,
            probes: ingest.gate.probes,
            // A judge would be asked thousands of times, so practice does not take one over.
            grader: match ingest.gate.grader {
                Grader::Judge => Grader::Recall,
                by_words => by_words,
            },
        }
    }

    /// The preset with these fields laid over it, to be read as [`KnowledgeOptions`].
    pub fn merged(preset: Preset, ingest: &IngestOptions, over: &Value) -> Value {
        let mut merged = serde_json::to_value(Self::preset(preset, ingest)).expect("plain data");
        merge(&mut merged, over);
        merged
    }

    pub fn validate(&self) -> Result<(), OptionError> {
        if self.self_edit.kind == SelfEditKind::None {
            return Err(OptionError {
                field: "self_edit.kind".into(),
                reason: "`none` leaves the policy nothing to write".into(),
            });
        }
        // A judge would be asked thousands of times, and the loop hands it to nobody yet.
        if self.grader == Grader::Judge {
            return Err(OptionError {
                field: "grader".into(),
                reason: "practice is graded by words: exact, contains, recall or token_f1".into(),
            });
        }
        let writing = &self.self_edit;
        let whole = |kind| !matches!(kind, SelfEditKind::None | SelfEditKind::SelfQa);
        let tried = &writing.explore;
        if !tried.is_empty() && !tried.iter().chain([&writing.kind]).all(|k| whole(*k)) {
            return Err(OptionError {
                field: "self_edit.explore".into(),
                reason: "rewrite, implications, implications-long and chain-of-thought can be tried for one \
                         another; self-qa is written phrase by phrase, and none is not written"
                    .into(),
            });
        }
        within(
            "self_edit.temperature",
            writing.temperature as f64,
            0.0,
            2.0,
        )?;
        within("self_edit.top_p", writing.top_p as f64, 0.01, 1.0)?;
        within("probes", self.probes as f64, 1.0, 32.0)?;
        self.training.validate("training")
    }

    /// Fails if there are fewer candidates than kinds to try: every kind is asked for at least once.
    pub fn fits(&self, outer: &OuterOptions) -> Result<(), OptionError> {
        let (tried, candidates) = (self.self_edit.explore.len(), outer.candidates);
        if tried < candidates {
            return Ok(());
        }
        Err(OptionError {
            field: "self_edit.explore".into(),
            reason: format!(
                "{candidates} candidates are too few to try `kind` and {tried} more kinds; name {} at most, or ask for \
                 more candidates",
                candidates - 1
            ),
        })
    }
}

impl KnowledgeContext {
    pub fn new(passage: Passage, gold: Vec<Question>) -> Self {
        KnowledgeContext {
            passage,
            gold,
            probes: Vec::new(),
        }
    }

    fn asked(&self, queries: Queries) -> &[Question] {
        match queries {
            Queries::Report if !self.gold.is_empty() => &self.gold,
            _ => &self.probes,
        }
    }
}

/// Pairs of a kept self-qa edit that the policy is fine-tuned on: each repeats the whole prompt.
pub(super) const LESSON_PAIRS: usize = 8;

impl Domain for KnowledgeOptions {
    type Context = KnowledgeContext;
    type Edit = SelfEdit;

    fn title<'a>(&self, case: &'a KnowledgeContext) -> &'a str {
        &case.passage.title
    }

    fn prepare(
        &self,
        model: Interruptible<'_>,
        case: &KnowledgeContext,
        seed: u64,
    ) -> Result<KnowledgeContext, ModelError> {
        let probes = match self.questions {
            QuestionSource::Given if !case.gold.is_empty() => case.gold.clone(),
            _ => {
                let passage = &case.passage;
                let knows = |pairs: &[Question]| {
                    let closed = closed_book(&passage.title, pairs);
                    right(model, None, &closed, self.grader, ANSWER_TOKENS)
                };
                questions::write(model, knows, passage, &[], self.probes, seed)?.kept
            }
        };
        Ok(KnowledgeContext {
            probes,
            ..case.clone()
        })
    }

    fn write(
        &self,
        model: Interruptible<'_>,
        policy: Option<&Adapter>,
        case: &KnowledgeContext,
        count: usize,
        seed: u64,
    ) -> Result<Vec<SelfEdit>, ModelError> {
        let options = SelfEditOptions {
            kind: self.self_edit.kind,
            samples: count,
            temperature: self.self_edit.temperature,
            top_p: self.self_edit.top_p,
            // What the policy writes is judged, not what is made of it.
            forms: Vec::new(),
            // Practice is the policy's own.
            ..Default::default()
        };
        let author = Author::policy(model, policy);
        if self.self_edit.explore.is_empty() {
            return self_edit::write(author, &case.passage, &options, seed);
        }
        // A request each: the prompts of one would not have the seeds that each has alone.
        let one = SelfEditOptions {
            samples: 1,
            ..options
        };
        let words = std::iter::once(&self.self_edit.kind).chain(&self.self_edit.explore);
        let asked: Vec<_> = words.cycle().zip(seed..).take(count).collect();
        let written = fan_out::each(count, count, |i| {
            let (&words, seed) = asked[i];
            self_edit::write_lists(author, &case.passage, &one, words, seed)
        })?;
        Ok(written.into_iter().flatten().collect())
    }

    /// The passage alone.
    fn bare(&self, _: &KnowledgeContext) -> Option<SelfEdit> {
        Some(self_edit::from_text(self.self_edit.kind, String::new(), 0))
    }

    fn training(
        &self,
        case: &KnowledgeContext,
        edit: &SelfEdit,
        queries: Queries,
        seed: u64,
        tokens: &CountTokens<'_>,
    ) -> Option<Training> {
        let mut edit = edit.clone();
        let asked = case.asked(queries);
        if *asked != case.gold {
            // Written as the probes are, a pair may be worded as one: it would be rewarded for that.
            let probes: HashSet<_> = asked.iter().map(|p| words(&p.question)).collect();
            let worded = |pair: &mut Question| probes.contains(&words(&pair.question));
            let left_out: Vec<Question> = edit.pairs.extract_if(.., worded).collect();
            // The pair's other forms hold its question letter for letter.
            let holds =
                |form: &Question| left_out.iter().any(|p| form.question.contains(&p.question));
            edit.forms.retain(|form| !holds(form));
        }
        Some(Training {
            texts: training_texts(&case.passage, &[edit], tokens),
            update: self.training.update(seed),
            init: None,
        })
    }

    fn ask(
        &self,
        model: Interruptible<'_>,
        adapter: Option<&Adapter>,
        case: &KnowledgeContext,
        queries: Queries,
        samples: Option<u64>,
    ) -> Result<Vec<Answer>, ModelError> {
        let items = closed_book(&case.passage.title, case.asked(queries));
        let mut answers = answer_all(model, adapter, &items, self.grader)?;
        if let Some(seed) = samples {
            let shares = expected(model, adapter, &items, self.grader, seed)?;
            for (answer, share) in answers.iter_mut().zip(shares) {
                answer.expected = Some(share);
            }
        }
        Ok(answers)
    }

    fn lesson(&self, case: &KnowledgeContext, edit: &SelfEdit) -> Vec<TrainingText> {
        if edit.kind != SelfEditKind::SelfQa {
            return match edit.statements.is_empty() {
                true => Vec::new(),
                false => vec![self_edit::statement_lesson(edit, &case.passage)],
            };
        }
        // Evenly spaced, so that they come from all parts of the passage.
        let pairs = edit.pairs.iter().zip(&edit.phrases);
        let pairs = pairs.filter(|(pair, phrase)| !pairs::names(phrase, &pair.question));
        let pairs: Vec<_> = pairs.collect();
        let most = pairs.len().min(LESSON_PAIRS);
        let spaced = (0..most).map(|i| pairs[i * pairs.len() / most]);
        spaced
            .map(|(pair, text)| {
                let phrase = Phrase {
                    sentence: &pair.answer,
                    text,
                };
                TrainingText::Completion {
                    prompt: pairs::prompt(&case.passage, &phrase),
                    completion: pair.question.clone(),
                }
            })
            .collect()
    }

    fn rubric(&self, case: &KnowledgeContext, edit: &SelfEdit) -> Prompt {
        let Passage { title, text } = &case.passage;
        Prompt::user(format!(
            "Grade study notes about a passage. Good notes are true to the passage, keep its names and \
             numbers, cover all of it, repeat nothing, and make sense on their own. Grades: 1 is useless, \
             3 is fair, 5 is excellent.\n\nPassage: {title}\n{text}\n\nNotes:\n{}\n\nAnswer with the \
             grade alone, a digit from 1 to 5.",
            edit.text
        ))
        .prefill("Grade: ")
    }
}
