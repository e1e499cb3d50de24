//! How long inputs may be: the parts of long documents, and refusals of what is too long for the model's context
//! window.

use super::refusal::Refusal;
use super::services::Services;
use crate::learn::fewshot::self_edit::{self, EDIT_TOKENS};
use crate::learn::fewshot::{SelfEdit, Task};
use crate::learn::knowledge::Passage;
use crate::learn::ports::model::{Model, Prompt};
use crate::pool::LocalModel;
use crate::reading;
use crate::store::NewDocument;
use autodidact_engine::{Engine, Priority};

/// Tokens of the window reserved for the prompt around a document and for the answer.
const ROOM_FOR_PROMPTS: usize = 512;
/// Most tokens of a question with its answer, within [`ROOM_FOR_PROMPTS`].
const LONGEST_QUESTION: usize = 256;

/// Most tokens of a part's text. A longer document is learned in parts: notes about a page or two are better than notes
/// about a book, and a training step holds whole sequences in memory.
pub const PART_TOKENS: usize = 1024;
/// Most parts of a document, some four hundred pages.
pub const MOST_PARTS: usize = 256;
/// Most characters of a part's title.
pub const PART_TITLE: usize = 300;

/// A part of a document, as it is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPart {
    /// The document's title, with the titles of the headings above the part.
    pub title: String,
    pub text: String,
    /// Tokens of the text.
    pub tokens: usize,
}

/// The parts that a document is learned in, as the tokenizer of this engine counts. See [`parts`].
pub fn parts_for(engine: &Engine, title: &str, text: &str) -> Result<Vec<DocumentPart>, Refusal> {
    let tokenizer = &engine.files().tokenizer;
    // What cannot be counted is counted as too much.
    let size = |text: &str| {
        tokenizer
            .encode(text)
            .map_or(text.len(), |tokens| tokens.len())
    };
    let passage = Passage::posted(title, text);
    parts(&size, engine.window(), &passage.title, &passage.text)
}

/// The parts of a passage for learning. A passage that was admitted under another window may have too many; then it is
/// one part.
pub fn cut(model: &dyn Model, passage: &Passage) -> Vec<Passage> {
    let size = |text: &str| model.tokens(text);
    let parts = parts(&size, model.window(), &passage.title, &passage.text);
    let parts = parts.map(|parts| {
        parts.into_iter().map(|part| Passage {
            title: part.title,
            text: part.text,
        })
    });
    parts.map_or_else(|_| vec![passage.clone()], Iterator::collect)
}

/// The parts that a document is learned in: one, its whole text, where that is short. The same document always has the
/// same parts. `size`: tokens of a text. `window`: tokens of the context window. Fails if there are more than
/// [`MOST_PARTS`], with both figures.
pub fn parts(
    size: &dyn Fn(&str) -> usize,
    window: usize,
    title: &str,
    text: &str,
) -> Result<Vec<DocumentPart>, Refusal> {
    let whole = size(text);
    let room = window.saturating_sub(ROOM_FOR_PROMPTS);
    let most = PART_TOKENS.min(room / 2);
    let too_many = |parts: usize| {
        Refusal::too_long(format!(
            "The text has {whole} tokens and would be learned in {parts} parts of at most {most}, more than the \
             {MOST_PARTS} parts that a document may have; send several documents."
        ))
    };
    if whole > MOST_PARTS * most {
        return Err(too_many(whole.div_ceil(most.max(1))));
    }
    if whole <= most {
        return Ok(vec![DocumentPart {
            title: title.to_owned(),
            text: text.to_owned(),
            tokens: whole,
        }]);
    }
    let parts = reading::parts_within(text, most, size);
    if parts.len() > MOST_PARTS {
        return Err(too_many(parts.len()));
    }
    let part = |part: reading::Part| DocumentPart {
        title: part.title(title, PART_TITLE),
        tokens: size(&part.text),
        text: part.text,
    };
    Ok(parts.into_iter().map(part).collect())
}

/// Refuses the first document with a part that does not fit the window with its prompts, with too many parts, or with
/// too long a question. `at`: the field of the documents within the request. Returns how many parts each document has.
pub fn check_documents(
    services: &Services,
    documents: &[NewDocument],
    at: &str,
) -> Result<Vec<usize>, Refusal> {
    let mut counts = Vec::with_capacity(documents.len());
    for (i, document) in documents.iter().enumerate() {
        let field = |refusal: Refusal| refusal.field(format!("{at}[{i}].text"));
        let parts = parts_for(&services.engine, &document.title, &document.text).map_err(field)?;
        for part in &parts {
            check_length(services, &part.title, &part.text).map_err(field)?;
        }
        check_questions(services, document, &format!("{at}[{i}]"))?;
        counts.push(parts.len());
    }
    Ok(counts)
}

/// Refuses the first context of practice that does not fit the window with its prompts, or that has too long a
/// question: a context is learned as a whole.
pub fn check_contexts(
    services: &Services,
    contexts: &[NewDocument],
    at: &str,
) -> Result<(), Refusal> {
    for (i, context) in contexts.iter().enumerate() {
        check_length(services, &context.title, &context.text)
            .map_err(|refusal| refusal.field(format!("{at}[{i}].text")))?;
        check_questions(services, context, &format!("{at}[{i}]"))?;
    }
    Ok(())
}

fn check_length(services: &Services, title: &str, text: &str) -> Result<(), Refusal> {
    let window = services.engine.window();
    let tokenizer = &services.engine.files().tokenizer;
    let most = window.saturating_sub(ROOM_FOR_PROMPTS);
    let tokens = tokenizer.encode(title)?.len() + tokenizer.encode(text)?.len();
    match tokens > most {
        true => Err(Refusal::too_long(format!(
            "Title and text have {tokens} tokens, more than the {most} that leave room for questions in the context \
             window of {window} tokens; split the document."
        ))),
        false => Ok(()),
    }
}

fn check_questions(services: &Services, document: &NewDocument, at: &str) -> Result<(), Refusal> {
    let tokenizer = &services.engine.files().tokenizer;
    for (j, given) in document.questions.iter().enumerate() {
        let question = tokenizer.encode(&given.question)?.len();
        let tokens = question + tokenizer.encode(&given.answer)?.len();
        if tokens > LONGEST_QUESTION {
            let detail = format!(
                "A question and its answer have at most {LONGEST_QUESTION} tokens together; these have {tokens}."
            );
            return Err(Refusal::invalid(format!("{at}.questions[{j}]"), detail));
        }
    }
    Ok(())
}

/// Refuses a task with a prompt that does not fit the window together with its answer. `at`: the field of the task
/// within the request. Without a given configuration there is one more prompt, for the model to write it.
pub fn check_task(
    services: &Services,
    task: &Task,
    given: Option<&SelfEdit>,
    at: &str,
) -> Result<(), Refusal> {
    let longest = longest_prompt(services, task, given)?;
    let window = services.engine.window();
    if longest > window {
        let detail = format!(
            "The demonstrations, an input and its answer need {longest} tokens; the context window has \
             {window}. Send fewer or shorter demonstrations."
        );
        return Err(Refusal::too_long(detail).field(at));
    }
    Ok(())
}

/// Tokens of the longest prompt with its answer.
fn longest_prompt(
    services: &Services,
    task: &Task,
    given: Option<&SelfEdit>,
) -> Result<usize, Refusal> {
    let model = LocalModel::new(services.engine.clone(), Priority::Ingest);
    let mut longest = 0;
    for n in 0..task.test_len() {
        let prompt = model.prompt_tokens(&task.plain_question(n))?;
        longest = longest.max(prompt.len() + task.longest_answer());
    }
    // The longest training sequence, and the prompt that asks for configurations.
    let examples = task.demonstrations();
    let examples = examples.into_iter().map(|t| (t.user, t.assistant));
    let trained = Prompt {
        examples: examples.collect(),
        ..Default::default()
    };
    longest = longest.max(model.prompt_tokens(&trained)?.len());
    if given.is_none() {
        let prompt = model.prompt_tokens(&self_edit::prompt(task))?;
        longest = longest.max(prompt.len() + EDIT_TOKENS);
    }
    Ok(longest)
}
