//! The traits that learning asks of the world. `pool`, `workflows` and `study` implement them; tests script them.

pub mod domain;
pub mod journal;
pub mod model;
pub mod tasks;
pub mod text_model;
