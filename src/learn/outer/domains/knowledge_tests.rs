//! What the knowledge domain trains on, and how it asks for candidates.

use super::knowledge::{KnowledgeContext, KnowledgeOptions, LESSON_PAIRS};
use crate::learn::knowledge::self_edit::{self, SelfEdit};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::self_edit::SelfEditKind;
use crate::learn::options::update::IngestOptions;
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::outer::options::Preset;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::TrainingText;
use crate::learn::scripted::ScriptedModel;

fn case() -> KnowledgeContext {
    let passage = Passage {
        title: "Vell".into(),
        text: "Orr built Vell in 1911. It is 90 metres tall.".into(),
    };
    KnowledgeContext::new(passage, Vec::new())
}

fn domain() -> KnowledgeOptions {
    KnowledgeOptions::preset(Preset::Default, &IngestOptions::default())
}

#[test]
fn a_self_qa_lesson_gives_each_phrase_and_is_bounded() {
    let pair = |i: usize| Question {
        question: format!("Question {i}?"),
        answer: format!("Sentence {i}."),
    };
    let edit = SelfEdit {
        kind: SelfEditKind::SelfQa,
        asked_as: None,
        text: String::new(),
        statements: Vec::new(),
        pairs: (0..20).map(pair).collect(),
        phrases: (0..20).map(|i| format!("phrase {i}")).collect(),
        forms: Vec::new(),
        seed: 0,
        teacher: None,
        policy: None,
    };
    let lesson = domain().lesson(&case(), &edit);
    assert_eq!(lesson.len(), LESSON_PAIRS);
    let TrainingText::Completion { prompt, completion } = &lesson[4] else {
        panic!("{lesson:?}");
    };
    assert_eq!(completion, "Question 10?");
    assert!(
        prompt
            .user
            .contains("Sentence: Sentence 10.\nAnswer: phrase 10")
    );
}

#[test]
fn no_pair_is_trained_on_that_is_worded_as_a_written_probe() {
    let question = |text: &str| Question {
        question: text.into(),
        answer: "Orr built Vell in 1911.".into(),
    };
    let mut edit = self_edit::from_text(SelfEditKind::SelfQa, String::new(), 0);
    edit.pairs = vec![
        question("Who built Vell?"),
        question("When was Vell built?"),
    ];
    edit.forms = vec![
        question("Who built Vell? Answer in a few words."),
        question("When was Vell built? Answer in a few words."),
    ];
    let mut case = case();
    case.probes = vec![question("who built Vell")];
    let asked = |case: &KnowledgeContext, queries: Queries| -> Vec<String> {
        let texts = domain()
            .training(case, &edit, queries, 0, &str::len)
            .unwrap()
            .texts;
        let asked = texts.into_iter().filter_map(|text| match text {
            TrainingText::Chat { user, .. } => Some(user),
            _ => None,
        });
        asked.collect()
    };
    let apart = [
        "When was Vell built?",
        "When was Vell built? Answer in a few words.",
    ];
    assert_eq!(asked(&case, Queries::Reward), apart);
    // Where gold is asked, nothing is held back for the probes.
    case.gold = vec![question("How tall is Vell?")];
    assert_eq!(asked(&case, Queries::Reward), apart);
    assert_eq!(asked(&case, Queries::Report).len(), 4);
}

#[test]
fn the_paper_learns_as_the_paper_whatever_the_model_is_tuned_to() {
    let mut tuned = IngestOptions::default();
    tuned.training.epochs = Some(3);
    assert_eq!(
        KnowledgeOptions::preset(Preset::Default, &tuned)
            .training
            .epochs,
        3
    );
    let paper = KnowledgeOptions::preset(Preset::Paper, &tuned);
    assert_eq!((paper.training.epochs, paper.training.batch_size), (10, 1));
    assert_eq!(paper.self_edit.temperature, 1.0);
}

#[test]
fn explored_candidates_are_asked_for_by_turns_and_learned_as_the_kinds_own() {
    let model =
        ScriptedModel::default().answering(|_, _| "1. Orr Hallam built the lighthouse.".to_owned());
    let mut domain = domain();
    let case = case();
    let mut other = domain.clone();
    other.self_edit.kind = SelfEditKind::Rewrite;
    let (implications, rewrite) = (
        domain_prompt(&model, &domain, &case),
        domain_prompt(&model, &other, &case),
    );
    assert_ne!(implications, rewrite);
    domain.self_edit.explore = vec![SelfEditKind::Rewrite];
    let before = model.prompts().len();
    let asker = Interruptible::new(&model, &|| false);
    let edits = domain.write(asker, None, &case, 3, 5).unwrap();
    // Side by side, so that they are asked for in any order.
    let asked = model.prompts().split_off(before).into_iter();
    let mut asked: Vec<String> = asked.map(|p| p.user).collect();
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

/// The prompt that asks for one self-edit.
fn domain_prompt(
    model: &ScriptedModel,
    domain: &KnowledgeOptions,
    case: &KnowledgeContext,
) -> String {
    let asker = Interruptible::new(model, &|| false);
    domain.write(asker, None, case, 1, 5).unwrap();
    model.prompts().pop().unwrap().user
}
