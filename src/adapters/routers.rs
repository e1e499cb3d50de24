//! The choice of the adapter that answers a request. A version without routes answers with its own adapter. A version
//! with routes answers with the adapter of the document that the conversation is about.

use super::records::training_texts;
use super::{AliasName, Registry, Resolved, Result, Routes};
use crate::learn::inner::replay;
use crate::learn::inner::responders::Responder;
use crate::learn::inner::router::{Conversation, Router};
use crate::learn::knowledge::Passage;
use crate::learn::ports::model::TrainingText;
use crate::store::Store;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of routers kept for later requests.
const KEPT: usize = 16;
/// Number of routers kept for one alias. Each holds all documents of the alias.
const KEPT_OF_ALIAS: usize = 2;

/// The routers used last. The key is the routes they were built from and not the version, because an alias may be
/// deleted and made again: its versions then have the old numbers, and maybe the old bytes.
#[derive(Default)]
pub(super) struct Routers(Mutex<VecDeque<CachedRouter>>);

struct CachedRouter {
    alias: AliasName,
    routes: Routes,
    router: Arc<Router>,
}

impl Registry {
    /// Resolves `model` once, for several conversations. If the version has routes, each conversation chooses its
    /// adapter.
    pub fn resolve_for(
        &self,
        model: &str,
        conversations: &[Conversation],
    ) -> Result<Vec<Resolved>> {
        let resolved = self.resolve(model)?;
        let (Some(routes), Some((alias, number))) = (&resolved.routes, &resolved.version) else {
            return Ok(vec![resolved; conversations.len()]);
        };
        let router = self.routers.get(alias, &self.store, routes)?;
        let routed = conversations.iter().map(|conversation| {
            let chosen = routes.responders.choose(router.route(conversation));
            let adapter = match chosen {
                Responder::Version(chosen) if chosen == *number => resolved.adapter.clone(),
                Responder::Version(chosen) => Some(self.load_number(alias, chosen)?),
                Responder::Base | Responder::New => None,
            };
            Ok(Resolved {
                adapter,
                ..resolved.clone()
            })
        });
        routed.collect()
    }
}

impl Routers {
    fn get(&self, alias: &AliasName, store: &Store, routes: &Routes) -> Result<Arc<Router>> {
        if let Some(found) = find(&mut self.cached(), alias, routes) {
            return Ok(found);
        }
        let router = Arc::new(build(store, routes)?);
        let mut kept = self.cached();
        // Another request may have built the router meanwhile.
        if let Some(found) = find(&mut kept, alias, routes) {
            return Ok(found);
        }
        // Older versions answer only requests that name them, so their routers go first.
        if kept.iter().filter(|k| k.alias == *alias).count() >= KEPT_OF_ALIAS {
            let oldest = kept.iter().position(|k| k.alias == *alias);
            oldest.and_then(|at| kept.remove(at));
        }
        kept.push_back(CachedRouter {
            alias: alias.clone(),
            routes: routes.clone(),
            router: router.clone(),
        });
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(router)
    }

    fn cached(&self) -> MutexGuard<'_, VecDeque<CachedRouter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds a router and moves it to the end of the queue, so that it is dropped last.
fn find(
    kept: &mut VecDeque<CachedRouter>,
    alias: &AliasName,
    routes: &Routes,
) -> Option<Arc<Router>> {
    let at = kept
        .iter()
        .position(|k| k.alias == *alias && k.routes == *routes)?;
    let found = kept.remove(at)?;
    let router = found.router.clone();
    kept.push_back(found);
    Some(router)
}

/// Builds a router from the documents' texts. A deleted document counts as an empty text.
fn build(store: &Store, routes: &Routes) -> Result<Router> {
    let mut documents: Vec<(Passage, Vec<TrainingText>)> = Vec::new();
    for id in &routes.documents {
        documents.push(match store.documents().get(id)? {
            None => (Passage::posted("", ""), Vec::new()),
            Some(document) => {
                let passage = Passage::posted(&document.title, &document.text);
                (passage, training_texts(&document)?)
            }
        });
    }
    Ok(replay::router(
        documents.iter().map(|(p, texts)| (p, texts.as_slice())),
    ))
}
