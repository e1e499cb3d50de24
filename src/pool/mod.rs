//! Who computes: engines of this process. What learning asks of a model ([`crate::learn::ports::model::Model`]), of a
//! teacher or of a judge ([`crate::learn::ports::text_model::TextModel`]) is answered here, and work for several engines is
//! handed out as leased [`tasks`].

mod local;
mod local_text;
#[cfg(feature = "mistralrs")]
mod mistral;
mod open;
mod openai;
mod prefill;
mod soft;
pub mod tasks;

pub use local::LocalModel;
pub use local_text::LocalText;
#[cfg(feature = "mistralrs")]
pub use mistral::MistralModel;
pub use open::{open_engine, open_executor};
pub use openai::OpenAiModel;
