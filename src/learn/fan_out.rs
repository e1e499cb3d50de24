//! Asking a model many things at once: each asker is a thread that waits, the engine batches what they
//! ask into one forward pass.

/// Runs `work` on each of `0..count`, at most `width` at a time; the results are in that order. The first error
/// ends the work after the batch that it came from.
pub fn each<T: Send, E: Send>(
    count: usize,
    width: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let width = width.max(1);
    let mut results = Vec::with_capacity(count);
    for first in (0..count).step_by(width) {
        let batch: Vec<Result<T, E>> = std::thread::scope(|scope| {
            let work = &work;
            let last = count.min(first + width);
            let threads: Vec<_> = (first..last)
                .map(|i| scope.spawn(move || work(i)))
                .collect();
            let joined = threads.into_iter().map(|thread| {
                let panicked = |panic| std::panic::resume_unwind(panic);
                thread.join().unwrap_or_else(panicked)
            });
            joined.collect()
        });
        for result in batch {
            results.push(result?);
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::each;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_from_parallel_work() {
        // Would never end if fewer than three ran at the same time.
        let together = Barrier::new(3);
        let doubled = each(6, 3, |i| {
            together.wait();
            Ok::<_, ()>(2 * i)
        });
        assert_eq!(doubled, Ok(vec![0, 2, 4, 6, 8, 10]));
        assert_eq!(each(0, 3, |_| Ok::<(), ()>(())), Ok(vec![]));
    }

    #[test]
    fn an_error_ends_it() {
        let done = AtomicUsize::new(0);
        let result = each(9, 2, |i| {
            done.fetch_add(1, Ordering::SeqCst);
            if i == 3 { Err("three") } else { Ok(()) }
        });
        assert_eq!((result, done.into_inner()), (Err("three"), 4));
    }
}
