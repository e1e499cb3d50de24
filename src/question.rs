//! A question with its gold answer: what clients send, the store keeps and learning asks.

use serde::{Deserialize, Serialize};

/// A question with its gold answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub question: String,
    pub answer: String,
}
