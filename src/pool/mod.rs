//! Who computes. One process has one device and one engine; what learning asks of a model
//! ([`crate::learn::Model`]), of a teacher or of a judge ([`crate::learn::TextModel`]) is answered here.

mod local;
mod local_text;
#[cfg(feature = "mistralrs")]
mod mistral;
mod open;
mod openai;
mod prefill;

pub use local::LocalModel;
pub use local_text::LocalText;
#[cfg(feature = "mistralrs")]
pub use mistral::MistralModel;
pub use open::{open_engine, open_executor};
pub use openai::OpenAiModel;
