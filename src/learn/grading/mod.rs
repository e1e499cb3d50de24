//! Grading: is an answer right? By its words ([`grader`]), or by the verdict of a text model ([`judge`]).

pub mod grader;
pub mod judge;

use crate::learn::ports::model::ModelError;
use crate::learn::ports::text_model::TextModel;
use crate::learn::ports::watch::Watch;
use grader::Grader;
use judge::{AnswerToGrade, Verdict};

/// A grader with the model that [`Grader::Judge`] asks. The graders over words need none and convert
/// into one by themselves.
#[derive(Clone, Copy)]
pub struct Grading<'a> {
    pub grader: Grader,
    pub judge: Option<&'a dyn TextModel>,
}

impl From<Grader> for Grading<'_> {
    fn from(grader: Grader) -> Self {
        Grading {
            grader,
            judge: None,
        }
    }
}

impl Grading<'_> {
    /// Which of the answers are right. Fails as [`ModelError::Missing`] where the grader is the judge and
    /// there is no model to ask.
    pub fn grade(
        &self,
        answers: &[AnswerToGrade<'_>],
        watch: &dyn Watch,
    ) -> Result<Vec<bool>, ModelError> {
        if self.grader != Grader::Judge {
            let by_words = answers
                .iter()
                .map(|a| self.grader.correct(a.gold, a.answer));
            return Ok(by_words.collect());
        }
        let judge = self.judge.ok_or(ModelError::Missing("judge"))?;
        let verdicts = judge::judge(judge, answers, watch)?;
        Ok(verdicts.iter().map(|v| *v == Verdict::Right).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::scripted::ScriptedText;

    #[test]
    fn the_judge_is_asked_once_and_only_about_what_is_open() {
        let judge = ScriptedText::new(&["Yes."]);
        let grading = |grader| Grading {
            grader,
            judge: Some(&judge),
        };
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
        let graded = grading(Grader::Judge).grade(&answers, &|| false).unwrap();
        assert_eq!(graded, [true, true, true]);
        let asked = judge.asked();
        assert_eq!((asked.len(), judge.calls().len()), (2, 1));
        assert!(asked[0].contains("the day after Sunday") && asked[1].contains("Friday"));

        // A grader over words asks nobody.
        let contains = grading(Grader::Contains);
        let graded = contains.grade(&answers, &|| false).unwrap();
        assert_eq!(graded, [false, true, false]);
        assert_eq!(judge.calls().len(), 1);
    }

    #[test]
    fn a_judge_that_is_not_there_is_named() {
        let given = [AnswerToGrade {
            question: "Q?",
            gold: "a tower",
            answer: "a lighthouse",
        }];
        let graded = Grading::from(Grader::Judge).grade(&given, &|| false);
        let told = graded.unwrap_err().to_string();
        assert!(told.contains("[judge]"), "{told}");
    }
}
