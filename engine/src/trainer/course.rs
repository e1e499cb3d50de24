//! A candidate's course over its examples: the order of each epoch, the examples that rest, and the end.
//!
//! With `early_stop` an example that was answered rests for one epoch and then comes again, so that an epoch's work
//! goes to what is not learned yet; the course ends after the epoch by which enough examples were answered at their
//! last visit.

use super::TrainConfig;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A course under way.
#[derive(Debug)]
pub struct Course {
    epochs: usize,
    batch: usize,
    /// The share of answered examples that ends the course.
    enough: Option<f32>,
    rng: ChaCha8Rng,
    /// All examples, as they were last shuffled.
    order: Vec<usize>,
    /// The examples of the epoch under way, and how many of them are done.
    queue: Vec<usize>,
    done: usize,
    /// Whether an example was answered at its last visit.
    answered: Vec<bool>,
    /// Whether an example rests in the epoch under way.
    resting: Vec<bool>,
    /// Whole epochs done.
    epoch: usize,
    ended: bool,
}

impl Course {
    /// `rng` draws the order of every epoch.
    pub fn new(config: &TrainConfig, examples: usize, rng: ChaCha8Rng) -> Self {
        Course {
            epochs: config.epochs,
            batch: config.batch_size,
            enough: config.early_stop,
            rng,
            order: (0..examples).collect(),
            queue: Vec::new(),
            done: 0,
            answered: vec![false; examples],
            resting: vec![false; examples],
            epoch: 0,
            ended: false,
        }
    }

    /// The examples of the next step. Batches do not cross epochs.
    pub fn next_batch(&mut self) -> Vec<usize> {
        if self.done == 0 {
            self.order.shuffle(&mut self.rng);
            let awake = self.order.iter().filter(|i| !self.resting[**i]);
            self.queue = awake.copied().collect();
        }
        let end = (self.done + self.batch).min(self.queue.len());
        self.queue[self.done..end].to_vec()
    }

    /// Notes whether the example was answered: each target had a probability above one half.
    pub fn visited(&mut self, example: usize, answered: bool) {
        self.answered[example] = answered;
    }

    /// To be called after each step.
    pub fn step_done(&mut self) {
        self.done = (self.done + self.batch).min(self.queue.len());
        if self.done < self.queue.len() {
            return;
        }
        (self.done, self.epoch) = (0, self.epoch + 1);
        let Some(enough) = self.enough else { return };
        let answered = self.answered.iter().filter(|answered| **answered).count();
        self.ended = answered as f32 / self.answered.len() as f32 >= enough;
        for (resting, answered) in self.resting.iter_mut().zip(&self.answered) {
            *resting = *answered && !*resting;
        }
    }

    /// Whole epochs done. The first one has every example.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    pub fn finished(&self) -> bool {
        self.ended || self.epoch >= self.epochs
    }

    /// The steps of a course in which no example rests.
    pub fn longest(&self) -> usize {
        self.epochs * self.steps(self.order.len())
    }

    /// How far the course is, in steps of a course in which no example rests.
    pub fn place(&self) -> usize {
        let whole = self.steps(self.order.len());
        let within = match self.done {
            0 => 0,
            done => done.div_ceil(self.batch) * whole / self.steps(self.queue.len()),
        };
        self.epoch * whole + within
    }

    fn steps(&self, examples: usize) -> usize {
        examples.div_ceil(self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn course(examples: usize, epochs: usize, early_stop: Option<f32>) -> Course {
        let config = TrainConfig {
            epochs,
            batch_size: 2,
            early_stop,
            ..TrainConfig::default()
        };
        Course::new(&config, examples, ChaCha8Rng::seed_from_u64(1))
    }

    /// The examples of each epoch; `answers` says in which epoch (from 0) an example is answered.
    fn epochs(mut course: Course, answers: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
        let mut epochs: Vec<Vec<usize>> = Vec::new();
        while !course.finished() {
            let epoch = course.epoch;
            let batch = course.next_batch();
            for example in &batch {
                course.visited(*example, answers(*example, epoch));
            }
            course.step_done();
            epochs.resize(epoch + 1, Vec::new());
            epochs[epoch].extend(batch);
        }
        epochs.iter_mut().for_each(|epoch| epoch.sort());
        epochs
    }

    #[test]
    fn every_epoch_has_every_example_once() {
        let all = epochs(course(5, 3, None), |_, _| true);
        assert_eq!(all, vec![vec![0, 1, 2, 3, 4]; 3]);
    }

    #[test]
    fn what_was_answered_rests_for_an_epoch() {
        // Example 0 is answered at once, 1 never, 2 from the third epoch on.
        let answers = |example, epoch| example == 0 || example == 2 && epoch >= 2;
        let trained = epochs(course(3, 6, Some(1.0)), answers);
        let wanted = [
            vec![0, 1, 2],
            vec![1, 2],
            vec![0, 1, 2],
            vec![1],
            vec![0, 1, 2],
            vec![1],
        ];
        assert_eq!(trained, wanted);
    }

    #[test]
    fn it_ends_when_enough_are_answered() {
        let answers = |example, epoch| example < 3 && epoch == 1;
        assert_eq!(epochs(course(4, 6, Some(0.75)), answers).len(), 2);
        assert_eq!(epochs(course(4, 6, Some(0.8)), answers).len(), 6);
        assert_eq!(epochs(course(4, 6, Some(1.0)), |_, _| true).len(), 1);
    }

    #[test]
    fn its_place_goes_evenly_to_its_end() {
        let mut course = course(6, 2, Some(1.0));
        let mut places = Vec::new();
        while !course.finished() {
            places.push(course.place());
            for example in course.next_batch() {
                course.visited(example, example < 4);
            }
            course.step_done();
        }
        // Three steps in the first epoch; in the second one step for the two examples that do not rest.
        assert_eq!(
            (places, course.place(), course.longest()),
            (vec![0, 1, 2, 3], 6, 6)
        );
    }
}
