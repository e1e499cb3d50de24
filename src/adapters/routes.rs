//! A version that answers by several adapters: its lineage names, for each document it knows, the version
//! of the alias whose adapter answers questions about it.

use crate::store::Version;
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// Documents by id, each with a version of the same alias, in the order they were learned.
    pub documents: Vec<(String, u64)>,
    /// The version for questions about none of them; `None`: the base.
    pub otherwise: Option<u64>,
}

impl Routes {
    /// `None`: this version's own adapter answers everything.
    pub fn of(version: &Version) -> Option<Routes> {
        let routes = version.lineage.get("routes")?;
        let entry = |entry: &Value| {
            let id = entry["document"].as_str()?.to_owned();
            // Null is the version itself, whose number was not known when its lineage was written.
            Some((id, entry["version"].as_u64().unwrap_or(version.number)))
        };
        Some(Routes {
            documents: routes["documents"]
                .as_array()?
                .iter()
                .filter_map(entry)
                .collect(),
            otherwise: routes["otherwise"].as_u64(),
        })
    }

    /// As the lineage holds it; a document with no version belongs to the one being made.
    pub fn lineage(documents: &[(String, Option<u64>)], otherwise: Option<u64>) -> Value {
        let documents = documents.iter();
        let entry =
            |(id, version): &(String, Option<u64>)| json!({"document": id, "version": version});
        json!({"documents": documents.map(entry).collect::<Vec<_>>(), "otherwise": otherwise})
    }

    /// The version that answers for a document.
    pub fn version_of(&self, document: &str) -> Option<u64> {
        let mut documents = self.documents.iter();
        documents.find(|(id, _)| id == document).map(|(_, v)| *v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let routes = [("doc_a".to_owned(), Some(2)), ("doc_b".to_owned(), None)];
        let version = |lineage| Version {
            alias: "kb".into(),
            number: 7,
            digest: String::new(),
            base_digest: String::new(),
            config_blob: String::new(),
            weights_blob: String::new(),
            bytes: 0,
            parent: Some(6),
            lineage,
            created_at: String::new(),
        };
        let found =
            Routes::of(&version(json!({"routes": Routes::lineage(&routes, None)}))).unwrap();
        let documents = vec![("doc_a".to_owned(), 2), ("doc_b".to_owned(), 7)];
        assert_eq!((&found.documents, found.otherwise), (&documents, None));
        assert_eq!(found.version_of("doc_b"), Some(7));
        let found = Routes::of(&version(json!({"routes": Routes::lineage(&[], Some(1))}))).unwrap();
        assert_eq!(found.otherwise, Some(1));
        assert_eq!(Routes::of(&version(json!({"source": "upload"}))), None);
    }
}
