//! Work of libraries that may panic, take very long or call themselves deeply: on a thread of its own, for a time at
//! most. A thread cannot be stopped from outside, so only so many run at once, those that nobody waits for any more
//! among them.

use super::{Limit, Unreadable};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Calls within calls need more room than a thread of the server has.
const STACK: usize = 64 << 20;

/// The time until which a document is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    format: &'static str,
    longest: Duration,
    end: Instant,
}

impl Deadline {
    pub fn new(format: &'static str, longest: Duration) -> Self {
        let end = Instant::now() + longest;
        Deadline {
            format,
            longest,
            end,
        }
    }

    /// Fails once the time is over. Work asks this as often as it can.
    pub fn check(&self) -> Result<(), Unreadable> {
        match self.left().is_zero() {
            true => Err(self.over()),
            false => Ok(()),
        }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn over(&self) -> Unreadable {
        Unreadable::TooLarge(Limit::Time {
            format: self.format,
            seconds: self.longest.as_secs(),
        })
    }
}

/// The places for the work of one format.
pub(super) struct Places {
    format: &'static str,
    most: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    pub const fn new(format: &'static str, most: usize) -> Self {
        Places {
            format,
            most,
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Runs the work and returns its result, after `longest` at most. Fails as [`Limit::Places`] if no place becomes
    /// free in that time, as [`Limit::Time`] if the work takes longer, and as damaged if it panics.
    pub fn run<T: Send + 'static>(
        &'static self,
        longest: Duration,
        work: impl FnOnce(&Deadline) -> Result<T, Unreadable> + Send + 'static,
    ) -> Result<T, Unreadable> {
        let deadline = Deadline::new(self.format, longest);
        let place = self.take(&deadline)?;
        let damaged = |reason: String| Unreadable::Damaged {
            format: self.format,
            reason,
        };
        let (done, result) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("reading".into())
            .stack_size(STACK);
        let started = thread.spawn(move || {
            // Given back when the work ends, whoever still waits for it.
            let _place = place;
            let _ = done.send(work(&deadline));
        });
        started.map_err(|error| damaged(error.to_string()))?;
        match result.recv_timeout(deadline.left()) {
            Ok(read) => read,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(deadline.over()),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(damaged("its structure cannot be followed".into()))
            }
        }
    }

    fn take(&'static self, deadline: &Deadline) -> Result<Place, Unreadable> {
        let full = |taken: &mut usize| *taken >= self.most;
        let waited = self
            .freed
            .wait_timeout_while(self.lock(), deadline.left(), full);
        let (mut taken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Unreadable::TooLarge(Limit::Places {
                format: self.format,
                most: self.most,
            }));
        }
        *taken += 1;
        Ok(Place(self))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A taken place.
struct Place(&'static Places);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn work_that_does_not_end_in_time_keeps_its_place() {
        static PLACES: Places = Places::new("PDF", 1);
        let (end, ended) = mpsc::channel::<()>();
        let slow = PLACES.run(Duration::from_millis(1), move |_| Ok(ended.recv().is_err()));
        let format = "PDF";
        let time = Limit::Time { format, seconds: 0 };
        assert_eq!(slow, Err(time.into()));
        let busy = PLACES.run(Duration::ZERO, |_| Ok(()));
        let places = Limit::Places { format, most: 1 };
        assert_eq!(busy, Err(places.into()));
        // The place is free again once the work ends.
        drop(end);
        assert_eq!(PLACES.run(LONG, |_| Ok(7)), Ok(7));
    }

    #[test]
    fn a_panic_is_told_and_gives_the_place_back() {
        static PLACES: Places = Places::new("PDF", 1);
        let gave_up = PLACES.run(LONG, |_| -> Result<(), Unreadable> { panic!("no page") });
        assert!(matches!(gave_up, Err(Unreadable::Damaged { .. })));
        assert_eq!(PLACES.run(LONG, |deadline| deadline.check()), Ok(()));
    }

    #[test]
    fn work_can_ask_for_the_time() {
        let over = Deadline::new("PDF", Duration::ZERO).check().unwrap_err();
        assert!(over.to_string().contains("PDF"), "{over}");
        assert_eq!(Deadline::new("PDF", LONG).check(), Ok(()));
    }
}
