//! The rule for which adapter answers which question. Requests, updates and studies all use this one rule.
//!
//! An alias answers with one adapter, or by document. By document, a router names the document that a question is
//! about, and the adapter that learned this document answers.

use std::collections::BTreeSet;

/// The model that answers a question: the base or an adapter on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Responder {
    Base,
    /// A version of the alias.
    Version(u64),
    /// The adapter under evaluation, which has no version yet.
    New,
}

impl From<Option<u64>> for Responder {
    /// `None`: the base.
    fn from(version: Option<u64>) -> Self {
        version.map_or(Responder::Base, Responder::Version)
    }
}

impl Responder {
    /// The version's number; `None` for the base and for an adapter without a version.
    pub fn version(self) -> Option<u64> {
        match self {
            Responder::Version(number) => Some(number),
            Responder::Base | Responder::New => None,
        }
    }
}

/// The responders of an alias: one for each document, and one for questions about none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Responders {
    by_document: bool,
    /// The responder for each document, in the order of learning.
    documents: Vec<Responder>,
    /// The responder for questions about none of the documents.
    otherwise: Responder,
}

impl Responders {
    /// One responder that answers every question; the alias has learned this many documents.
    pub fn one(responder: Responder, documents: usize) -> Self {
        Responders {
            by_document: false,
            documents: vec![responder; documents],
            otherwise: responder,
        }
    }

    /// A responder for each document, in the order of learning; `otherwise` answers questions about none of them.
    pub fn by_document(documents: Vec<Responder>, otherwise: Responder) -> Self {
        Responders {
            by_document: true,
            documents,
            otherwise,
        }
    }

    /// Whether a router chooses the responder by document.
    pub fn is_routed(&self) -> bool {
        self.by_document
    }

    /// The responder for a question about `document` (its index in the order of learning); `None`: about none of them.
    pub fn choose(&self, document: Option<usize>) -> Responder {
        match document {
            Some(place) if self.by_document => self.documents[place],
            _ => self.otherwise,
        }
    }

    /// The responders without the document at `place`. Its adapter answers only for other documents that it learned.
    pub fn without(mut self, place: usize) -> Responders {
        self.documents.remove(place);
        self
    }

    /// The responders once the adapter under evaluation is live; it has learned one more document.
    ///
    /// `routes`: the strategy is `route`, which keeps adapters apart; otherwise the new adapter answers everything.
    /// `continued`: the version that the new adapter was trained from. The new adapter takes over its documents.
    pub fn after_update(&self, routes: bool, continued: Option<u64>) -> Responders {
        if !routes {
            return Responders::one(Responder::New, self.documents.len() + 1);
        }
        let replaced = continued.map(Responder::Version);
        let kept = self.documents.iter().map(|responder| match *responder {
            responder if Some(responder) == replaced => Responder::New,
            responder => responder,
        });
        Responders::by_document(kept.chain([Responder::New]).collect(), self.otherwise)
    }

    /// The responders once the new adapter is published as `version`.
    pub fn published(mut self, version: u64) -> Responders {
        let all = self.documents.iter_mut().chain([&mut self.otherwise]);
        for responder in all.filter(|responder| **responder == Responder::New) {
            *responder = Responder::Version(version);
        }
        self
    }

    /// The responder for each document, in the order of learning.
    pub fn documents(&self) -> &[Responder] {
        &self.documents
    }

    /// The responder for questions about none of the documents.
    pub fn otherwise(&self) -> Responder {
        self.otherwise
    }

    /// The versions that answer for at least one document.
    pub fn versions(&self) -> BTreeSet<u64> {
        let versions = self.documents.iter();
        versions
            .filter_map(|responder| responder.version())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Responder::{Base, New, Version};
    use super::*;

    #[test]
    fn one_adapter_answers_everything() {
        let before = Responders::one(Version(3), 2);
        assert_eq!(before.choose(Some(1)), Version(3));
        let after = before.after_update(false, Some(3));
        assert_eq!((after.choose(Some(0)), after.choose(None)), (New, New));
        assert_eq!(after.published(4), Responders::one(Version(4), 3));
    }

    #[test]
    fn a_routed_update_answers_for_its_document_alone() {
        let empty = Responders::by_document(Vec::new(), Base);
        let one = empty.after_update(true, None).published(1);
        let two = one.after_update(true, None).published(2);
        assert_eq!(two.documents(), [Version(1), Version(2)]);
        assert_eq!((two.choose(Some(1)), two.choose(None)), (Version(2), Base));
    }

    #[test]
    fn a_document_that_joins_an_adapter_takes_its_documents_along() {
        let before = Responders::by_document(vec![Version(1), Version(2), Version(1)], Base);
        let after = before.after_update(true, Some(1));
        assert_eq!(after.documents(), [New, Version(2), New, New]);
        assert_eq!(after.published(5).versions(), [2, 5].into());
    }

    #[test]
    fn a_document_that_leaves_takes_its_adapter_out_of_the_routes() {
        let before = Responders::by_document(vec![Version(1), Version(2), Version(1)], Base);
        let without = before.clone().without(1);
        assert_eq!(without.versions(), [1].into());
        // Another document still needs the adapter.
        assert_eq!(before.without(0).versions(), [1, 2].into());
        let replaced = without.after_update(true, None).published(3);
        assert_eq!(replaced.documents(), [Version(1), Version(1), Version(3)]);
    }

    #[test]
    fn what_answered_everything_goes_on_answering_what_it_learned() {
        let uploaded = Responders::one(Version(1), 0);
        let after = uploaded.after_update(true, None);
        assert!(after.is_routed());
        assert_eq!(
            (after.choose(Some(0)), after.choose(None)),
            (New, Version(1))
        );
    }
}
