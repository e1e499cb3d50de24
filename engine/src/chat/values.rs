//! Python's objects that minijinja has none of: ranges, and the views of a dictionary.

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `dict.items()`, `dict.keys()` or `dict.values()`, as of the time of the call.
#[derive(Debug)]
pub(super) struct DictView {
    pub name: &'static str,
    pub items: Vec<Value>,
}

impl Object for DictView {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }
}

#[derive(Debug)]
pub(super) struct Range {
    start: i64,
    stop: i64,
    step: i64,
}

/// The most items of a range, as in Jinja's sandbox.
const MAX_RANGE: usize = 100_000;

impl Range {
    /// `range(stop)`, `range(start, stop)` or `range(start, stop, step)`.
    pub fn call(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
        let (start, stop) = second.map_or((0, first), |stop| (first, stop));
        let range = Range {
            start,
            stop,
            step: step.unwrap_or(1),
        };
        let wrong = |reason: String| Err(Error::new(ErrorKind::InvalidOperation, reason));
        match range.len() {
            _ if range.step == 0 => wrong("range() arg 3 must not be zero".into()),
            long if long > MAX_RANGE => wrong(format!(
                "Range too big. The sandbox blocks ranges larger than MAX_RANGE={MAX_RANGE}."
            )),
            _ => Ok(Value::from_object(range)),
        }
    }

    fn len(&self) -> usize {
        let (start, stop, step) = (
            i128::from(self.start),
            i128::from(self.stop),
            i128::from(self.step),
        );
        let length = match step {
            0 => 0,
            1.. => (stop - start + step - 1) / step,
            _ => (start - stop - step - 1) / -step,
        };
        usize::try_from(length).unwrap_or(0)
    }
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = key.as_usize().filter(|index| *index < self.len())?;
        Some(Value::from(self.start + self.step * index as i64))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range({}, {}", self.start, self.stop)?;
        match self.step {
            1 => f.write_str(")"),
            step => write!(f, ", {step})"),
        }
    }
}

/// `joiner(sep)`: nothing at its first call, then the separator.
#[derive(Debug)]
pub(super) struct Joiner {
    pub separator: String,
    pub calls: AtomicUsize,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        let first = self.calls.fetch_add(1, Ordering::Relaxed) == 0;
        let text = if first { "" } else { &self.separator };
        Ok(Value::from(text))
    }
}

/// `cycler(a, b, …)`: one after another, for ever.
#[derive(Debug)]
pub(super) struct Cycler {
    pub items: Vec<Value>,
    pub at: AtomicUsize,
}

impl Object for Cycler {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = self.at.load(Ordering::Relaxed) % self.items.len().max(1);
        (key.as_str() == Some("current")).then(|| self.items.get(at).cloned())?
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        _: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "next" => {
                let at = self.at.fetch_add(1, Ordering::Relaxed) % self.items.len().max(1);
                Ok(self.items.get(at).cloned().unwrap_or_default())
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}
