//! Which adapter answers which question: the one place that decides, for requests, for updates and for studies.
//!
//! An alias answers with one adapter, or by document: a router names the document that a question is about,
//! and the adapter that learned that document answers.

use std::collections::BTreeSet;

/// Who answers a question.
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
    pub fn version(self) -> Option<u64> {
        match self {
            Responder::Version(number) => Some(number),
            Responder::Base | Responder::New => None,
        }
    }
}

/// Who answers for each document of an alias, and for questions about none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Responders {
    by_document: bool,
    /// In the order in which the documents were learned.
    documents: Vec<Responder>,
    otherwise: Responder,
}

impl Responders {
    /// `responder` answers everything, for all of the `documents`.
    pub fn one(responder: Responder, documents: usize) -> Self {
        Responders {
            by_document: false,
            documents: vec![responder; documents],
            otherwise: responder,
        }
    }

    pub fn by_document(documents: Vec<Responder>, otherwise: Responder) -> Self {
        Responders {
            by_document: true,
            documents,
            otherwise,
        }
    }

    /// Whether a router chooses.
    pub fn is_routed(&self) -> bool {
        self.by_document
    }

    /// Who answers a question about `document` (its place in the order of learning); `None`: about none of them.
    pub fn choose(&self, document: Option<usize>) -> Responder {
        match document {
            Some(place) if self.by_document => self.documents[place],
            _ => self.otherwise,
        }
    }

    /// Who answers once the adapter under evaluation is live, which has learned one more document.
    ///
    /// `routes`: the update keeps adapters apart (strategy `route`); otherwise the new adapter answers everything.
    /// `continued`: the version that was trained further, whose documents the new adapter answers for from now on.
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

    /// The same once the new adapter is published as `version`.
    pub fn published(mut self, version: u64) -> Responders {
        let all = self.documents.iter_mut().chain([&mut self.otherwise]);
        for responder in all.filter(|responder| **responder == Responder::New) {
            *responder = Responder::Version(version);
        }
        self
    }

    /// For each document, in the order of learning.
    pub fn documents(&self) -> &[Responder] {
        &self.documents
    }

    pub fn otherwise(&self) -> Responder {
        self.otherwise
    }

    /// The versions that answer for documents.
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
