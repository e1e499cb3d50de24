//! The type for a question with its gold answer. Clients send questions, the store keeps them, and learning asks them.

use serde::{Deserialize, Serialize};

/// A question with its gold answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub question: String,
    pub answer: String,
}
