//! Refusals of inputs that are too long for the model's context window.

use super::refusal::Refusal;
use super::services::Services;
use crate::learn::fewshot::self_edit::{self, EDIT_TOKENS};
use crate::learn::fewshot::{SelfEdit, Task};
use crate::learn::ports::model::Prompt;
use crate::pool::LocalModel;
use crate::store::NewDocument;
use autodidact_engine::Priority;

/// Tokens of the window reserved for the prompt around a document and for the answer.
const ROOM_FOR_PROMPTS: usize = 512;
/// Most tokens of a question with its answer, within [`ROOM_FOR_PROMPTS`].
const LONGEST_QUESTION: usize = 256;

/// Refuses the first document that does not fit the window with its prompts, or that has too long a question. `at`:
/// the field of the documents within the request.
pub fn check_documents(
    services: &Services,
    documents: &[NewDocument],
    at: &str,
) -> Result<(), Refusal> {
    let window = services.engine.window();
    let tokenizer = &services.engine.files().tokenizer;
    let most = window.saturating_sub(ROOM_FOR_PROMPTS);
    for (i, document) in documents.iter().enumerate() {
        let title = tokenizer.encode(&document.title)?.len();
        let tokens = title + tokenizer.encode(&document.text)?.len();
        if tokens > most {
            let detail = format!(
                "Title and text have {tokens} tokens, more than the {most} that leave room for \
                 questions in the context window of {window} tokens; split the document."
            );
            return Err(Refusal::too_long(detail).field(format!("{at}[{i}].text")));
        }
        for (j, given) in document.questions.iter().enumerate() {
            let question = tokenizer.encode(&given.question)?.len();
            let tokens = question + tokenizer.encode(&given.answer)?.len();
            if tokens > LONGEST_QUESTION {
                let detail = format!(
                    "A question and its answer have at most {LONGEST_QUESTION} tokens together; \
                     these have {tokens}."
                );
                let field = format!("{at}[{i}].questions[{j}]");
                return Err(Refusal::invalid(field, detail));
            }
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
