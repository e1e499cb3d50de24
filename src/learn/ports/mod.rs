//! The traits that learning asks of the world, with the plain data they exchange. `pool`, `workflows` and
//! `study` implement the traits; tests script them. Imports nothing else of `learn`.
//!
//! ```text
//! model          the model that learns: generate, score, train
//! ├ interruptible  the same with the wish to stop it
//! │ watch          who watches over a call: its stop and its cost
//! text_model     a teacher or a judge: text in, text out
//! journal        the job around a run: remember a step, tell progress, stop
//! tasks          work that several workers share: lease, heartbeat, complete
//! ```

pub mod interruptible;
pub mod journal;
pub mod model;
pub mod tasks;
pub mod text_model;
pub mod watch;
