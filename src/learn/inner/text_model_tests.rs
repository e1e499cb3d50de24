//! A teacher that writes and a judge that grades, scripted, beside a model that learns.

use crate::learn::grading::grader::Grader;
use crate::learn::grading::judge::AnswerToGrade;
use crate::learn::knowledge::Passage;
use crate::learn::knowledge::domain::{KnowledgeContext, KnowledgeOptions};
use crate::learn::knowledge::self_edit::{self, SelfEdit};
use crate::learn::options::update::{IngestOptions, SelfEditKind, SelfEditOptions, Writer};
use crate::learn::outer::options::Preset;
use crate::learn::ports::domain::Domain;
use crate::learn::ports::model::{
    Adapter, Interruptible, Model, ModelError, OnStep, Prompt, Sampling, ShouldStop, Trained,
    Training, TrainingText,
};
use crate::learn::ports::text_model::{Helpers, TextModel};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// Says one thing, and keeps what it was asked.
#[derive(Default)]
struct Says {
    text: &'static str,
    asked: Mutex<Vec<Prompt>>,
    calls: Mutex<usize>,
}

impl Says {
    fn new(text: &'static str) -> Arc<Says> {
        Arc::new(Says {
            text,
            ..Says::default()
        })
    }

    fn say(&self, prompts: &[Prompt], n: usize) -> Vec<Vec<String>> {
        *self.calls.lock().unwrap() += 1;
        self.asked.lock().unwrap().extend(prompts.to_vec());
        prompts
            .iter()
            .map(|_| vec![self.text.to_owned(); n])
            .collect()
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|p| p.user.clone()).collect()
    }
}

impl TextModel for Says {
    fn name(&self) -> &str {
        "scripted"
    }

    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        Ok(self.say(prompts, sampling.n))
    }
}

impl Model for Says {
    fn generate(
        &self,
        prompts: &[Prompt],
        _: Option<&Adapter>,
        sampling: &Sampling,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        Ok(self.say(prompts, sampling.n))
    }

    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        _: Option<&Adapter>,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        Ok(vec![-1.0; items.len()])
    }

    fn train(&self, _: Vec<Training>, _: &mut OnStep<'_>) -> Result<Vec<Trained>, ModelError> {
        unreachable!("nothing is trained here")
    }
}

fn passage() -> Passage {
    Passage {
        title: "Vell".into(),
        text: "The lighthouse of Vell was built by Orr Hallam in 1911. It is 90 metres tall."
            .into(),
    }
}

fn write(
    model: &Says,
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
    let model = Interruptible::new(model, &|| false).helped_by(helpers);
    self_edit::write(model, None, &passage(), &options, 5)
}

#[test]
fn the_teacher_writes_in_the_models_place_and_is_named() {
    let model = Says::new("The model's own words.");
    let teacher = Says::new("The teacher has other words.\nWhich are two lines.");
    let helpers = Helpers {
        teacher: Some(teacher.clone()),
        judge: None,
    };
    let kind = SelfEditKind::Rewrite;
    let own = write(&model, &helpers, kind, Writer::Policy).unwrap();
    assert_eq!((own.len(), &own[0].teacher), (2, &None));
    assert!(teacher.asked().is_empty());

    let taught = write(&model, &helpers, kind, Writer::Teacher).unwrap();
    assert_eq!(taught.len(), 2);
    assert_eq!(taught[1].teacher.as_deref(), Some("scripted"));
    assert_eq!(taught[1].statements.len(), 2);
    assert_eq!(taught[1].text, teacher.text);
    // Both were asked the same.
    assert_eq!(teacher.asked(), model.asked());
    assert_eq!(*model.calls.lock().unwrap(), 1);
}

#[test]
fn the_teacher_writes_questions_too() {
    let model = Says::new("What is it that the model asks?");
    let teacher = Says::new("What does the teacher ask?");
    let helpers = Helpers {
        teacher: Some(teacher.clone()),
        judge: None,
    };
    let edits = write(&model, &helpers, SelfEditKind::SelfQa, Writer::Teacher).unwrap();
    assert_eq!(edits[0].teacher.as_deref(), Some("scripted"));
    // The same question for every phrase is one question.
    assert_eq!(edits[0].pairs.len(), 1);
    assert_eq!(edits[0].pairs[0].question, teacher.text);
    assert!(model.asked().is_empty());
}

#[test]
fn a_wanted_helper_that_is_not_there_is_named() {
    let model = Says::new("words and words and words");
    let taught = write(
        &model,
        Helpers::none(),
        SelfEditKind::Rewrite,
        Writer::Teacher,
    );
    let told = taught.unwrap_err().to_string();
    assert!(told.contains("[teacher]"), "{told}");
    let given = [AnswerToGrade {
        question: "Q?",
        gold: "a tower",
        answer: "a lighthouse",
    }];
    let graded = Interruptible::new(&*model, &|| false).grade(Grader::Judge, &given);
    let told = graded.unwrap_err().to_string();
    assert!(told.contains("[judge]"), "{told}");

    let options = |value| IngestOptions::merged(&[&value]).unwrap();
    let judged = options(json!({"gate": {"grader": "judge"}}));
    assert!(judged.check_helpers(false, true).is_ok());
    let error = judged.check_helpers(true, false).unwrap_err();
    assert_eq!(error.field, "gate.grader");
    let taught = options(json!({"self_edit": {"writer": "teacher"}}));
    assert!(taught.check_helpers(true, false).is_ok());
    let error = taught.check_helpers(false, true).unwrap_err();
    assert_eq!(error.field, "self_edit.writer");
    assert!(options(json!({})).check_helpers(false, false).is_ok());
}

#[test]
fn the_judge_is_asked_once_and_only_about_what_is_open() {
    let model = Says::new("");
    let judge = Says::new("Yes.");
    let helpers = Helpers {
        teacher: None,
        judge: Some(judge.clone()),
    };
    let model = Interruptible::new(&*model, &|| false).helped_by(&helpers);
    let given = |answer| AnswerToGrade {
        question: "Which day?",
        gold: "Monday",
        answer,
    };
    let answers = [
        given("the day after Sunday"),
        given("Monday."),
        given("Friday"),
    ];
    let graded = model.grade(Grader::Judge, &answers).unwrap();
    assert_eq!(graded, [true, true, true]);
    let asked = judge.asked();
    assert_eq!((asked.len(), *judge.calls.lock().unwrap()), (2, 1));
    assert!(asked[0].contains("the day after Sunday") && asked[1].contains("Friday"));

    // A grader over words asks nobody.
    let graded = model.grade(Grader::Contains, &answers).unwrap();
    assert_eq!(graded, [false, true, false]);
    assert_eq!(*judge.calls.lock().unwrap(), 1);
}

#[test]
fn explored_candidates_are_asked_for_by_turns_and_learned_as_the_kinds_own() {
    let model = Says::new("1. Orr Hallam built the lighthouse.");
    let mut domain = KnowledgeOptions::preset(Preset::Default, &IngestOptions::default());
    let case = KnowledgeContext::new(passage(), Vec::new());
    let mut other = domain.clone();
    other.self_edit.kind = SelfEditKind::Rewrite;
    let (implications, rewrite) = (
        domain_prompt(&model, &domain, &case),
        domain_prompt(&model, &other, &case),
    );
    assert_ne!(implications, rewrite);
    domain.self_edit.explore = vec![SelfEditKind::Rewrite];
    model.asked.lock().unwrap().clear();
    let asker = Interruptible::new(&*model, &|| false);
    let edits = domain.write(asker, None, &case, 3, 5).unwrap();
    // Side by side, so that they are asked for in any order.
    let mut asked = model.asked();
    asked.sort();
    let mut prompts = [&implications, &rewrite, &implications].map(String::clone);
    prompts.sort();
    assert_eq!(asked, prompts);
    let turns: Vec<_> = edits.iter().map(|e| (e.seed, e.asked_as)).collect();
    let rewrite = Some(SelfEditKind::Rewrite);
    assert_eq!(turns, [(5, None), (6, rewrite), (7, None)]);
    for edit in &edits {
        let TrainingText::Completion { prompt, .. } = &domain.lesson(&case, edit)[0] else {
            panic!("no lesson");
        };
        assert_eq!(prompt.user, implications);
    }
}

/// What one self-edit is asked for by.
fn domain_prompt(model: &Says, domain: &KnowledgeOptions, case: &KnowledgeContext) -> String {
    let asker = Interruptible::new(model, &|| false);
    domain.write(asker, None, case, 1, 5).unwrap();
    model.asked().pop().unwrap()
}
