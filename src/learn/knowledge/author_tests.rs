//! A teacher that writes in the model's place.

use super::Passage;
use super::author::Author;
use super::self_edit::{self, SelfEdit};
use crate::learn::options::self_edit::{SelfEditKind, SelfEditOptions, Writer};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::ModelError;
use crate::learn::ports::text_model::Helpers;
use crate::learn::scripted::{ScriptedModel, ScriptedText};
use std::sync::Arc;

fn passage() -> Passage {
    Passage {
        title: "Vell".into(),
        text: "The lighthouse of Vell was built by Orr Hallam in 1911. It is 90 metres tall."
            .into(),
    }
}

/// A model that always says the same.
fn saying(text: &'static str) -> ScriptedModel {
    ScriptedModel::default().answering(move |_, _| text.to_owned())
}

fn asked(model: &ScriptedModel) -> Vec<String> {
    model.prompts().into_iter().map(|p| p.user).collect()
}

fn taught_by(text: &'static str) -> (Arc<ScriptedText>, Helpers) {
    let teacher = Arc::new(ScriptedText::new(&[text]));
    let helpers = Helpers {
        teacher: Some(teacher.clone()),
        judge: None,
    };
    (teacher, helpers)
}

fn write(
    model: &ScriptedModel,
    helpers: &Helpers,
    kind: SelfEditKind,
    writer: Writer,
) -> Result<Vec<SelfEdit>, ModelError> {
    let options = SelfEditOptions {
        kind,
        writer,
        samples: 2,
        ..Default::default()
    };
    let model = Interruptible::new(model, &|| false);
    let author = Author::new(writer, model, None, helpers)?;
    self_edit::write(author, &passage(), &options, 5)
}

#[test]
fn the_teacher_writes_in_the_models_place_and_is_named() {
    let model = saying("The model's own words.");
    let text = "The teacher has other words.\nWhich are two lines.";
    let (teacher, helpers) = taught_by(text);
    let kind = SelfEditKind::Rewrite;
    let own = write(&model, &helpers, kind, Writer::Policy).unwrap();
    assert_eq!((own.len(), &own[0].teacher), (2, &None));
    assert!(teacher.asked().is_empty());

    let taught = write(&model, &helpers, kind, Writer::Teacher).unwrap();
    assert_eq!(taught.len(), 2);
    assert_eq!(taught[1].teacher.as_deref(), Some("scripted"));
    assert_eq!(taught[1].statements.len(), 2);
    assert_eq!(taught[1].text, text);
    // Both were asked the same.
    assert_eq!(teacher.asked(), asked(&model));
    assert_eq!(model.calls(), ["generate"]);
}

#[test]
fn the_teacher_writes_questions_too() {
    let model = saying("What is it that the model asks?");
    let text = "What does the teacher ask?";
    let (_, helpers) = taught_by(text);
    let edits = write(&model, &helpers, SelfEditKind::SelfQa, Writer::Teacher).unwrap();
    assert_eq!(edits[0].teacher.as_deref(), Some("scripted"));
    // The same question for every phrase is one question.
    assert_eq!(edits[0].pairs.len(), 1);
    assert_eq!(edits[0].pairs[0].question, text);
    assert!(model.calls().is_empty());
}

#[test]
fn a_teacher_that_is_not_there_is_named() {
    let model = saying("words and words and words");
    let (kind, writer) = (SelfEditKind::Rewrite, Writer::Teacher);
    let taught = write(&model, Helpers::none(), kind, writer);
    let told = taught.unwrap_err().to_string();
    assert!(told.contains("[teacher]"), "{told}");
}
