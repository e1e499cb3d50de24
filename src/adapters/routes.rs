//! The routes of a version that answers with several adapters. For each document, its lineage names the version whose
//! adapter answers questions about the document.

use super::Result;
use super::lineage::{Lineage, RouteRecord, RoutesRecord};
use crate::learn::inner::responders::{Responder, Responders};
use crate::store::Version;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Ids of the documents, oldest first.
    pub documents: Vec<String>,
    pub responders: Responders,
}

impl Routes {
    /// Reads the routes of a version. `None`: the version's own adapter answers everything.
    pub fn of(version: &Version) -> Result<Option<Routes>> {
        let lineage = Lineage::of(version)?;
        let record = lineage.routes().cloned();
        Ok(record.map(|record| Self::read(record, version.number)))
    }

    fn read(record: RoutesRecord, own: u64) -> Routes {
        let responder = |route: &RouteRecord| Responder::Version(route.version.unwrap_or(own));
        let responders = record.documents.iter().map(responder).collect();
        Routes {
            responders: Responders::by_document(responders, record.otherwise.into()),
            documents: record.documents.into_iter().map(|r| r.document).collect(),
        }
    }

    /// The record of these routes for the lineage of a version that is not published yet.
    pub fn record(self) -> RoutesRecord {
        let versions = self.responders.documents().iter().map(|r| match *r {
            Responder::New => None,
            Responder::Version(number) => Some(number),
            Responder::Base => unreachable!("a learned document is answered by a version"),
        });
        let documents = self.documents.into_iter().zip(versions);
        RoutesRecord {
            documents: documents
                .map(|(document, version)| RouteRecord { document, version })
                .collect(),
            otherwise: self.responders.otherwise().version(),
        }
    }

    /// Whether nothing is learned, so that the base answers everything.
    pub fn is_base(&self) -> bool {
        self.documents.is_empty() && self.responders.otherwise() == Responder::Base
    }

    /// The responder for a document.
    pub fn of_document(&self, id: &str) -> Option<Responder> {
        let place = self.documents.iter().position(|document| document == id)?;
        Some(self.responders.documents()[place])
    }
}

#[cfg(test)]
mod tests {
    use super::Responder::{Base, New, Version};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let routes = Routes {
            documents: vec!["doc_a".into(), "doc_b".into()],
            responders: Responders::by_document(vec![Version(2), New], Base),
        };
        let found = Routes::read(routes.record(), 7);
        assert_eq!(found.responders.documents(), [Version(2), Version(7)]);
        assert_eq!(found.responders.otherwise(), Base);
        assert_eq!(found.of_document("doc_b"), Some(Version(7)));
        assert_eq!(found.of_document("doc_c"), None);
    }
}
