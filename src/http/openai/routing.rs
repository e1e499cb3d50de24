//! Which adapter answers a request: that of the version it names, or where the version routes, that of the
//! document its question is about.

use crate::adapters::{AliasName, Registry, Resolved, Routes};
use crate::http::common::error::Problem;
use crate::http::common::state::AppState;
use crate::learn::inner::replay;
use crate::learn::inner::route::Router;
use crate::learn::knowledge::Passage;
use crate::learn::ports::model::TrainingText;
use crate::store::Store;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Routers kept for requests to come.
const KEPT: usize = 16;
/// Of one alias: each holds all of its documents.
const KEPT_OF_ALIAS: usize = 2;

/// The routers of the versions asked last, by what they were built from: an alias may be deleted and begun again, and
/// its versions then have the old numbers and, where a document was taught again, the old bytes.
#[derive(Default)]
pub struct Routers(Mutex<VecDeque<Kept>>);

struct Kept {
    alias: AliasName,
    routes: Routes,
    router: Arc<Router>,
}

/// Resolves `model`; `question` chooses where its version routes.
pub fn resolve(state: &AppState, model: &str, question: &str) -> Result<Resolved, Problem> {
    let resolved = state.registry.resolve(model)?;
    let (Some(routes), Some((alias, number))) = (&resolved.routes, &resolved.version) else {
        return Ok(resolved);
    };
    let router = state.routers.get(alias, &state.store, routes)?;
    let chosen = match router.choose(question) {
        Some(document) => Some(routes.documents[document].1),
        None => routes.otherwise,
    };
    let adapter = match chosen {
        Some(chosen) if chosen == *number => resolved.adapter,
        Some(chosen) => Some(Registry::load_number(&state.registry, alias, chosen)?),
        None => None,
    };
    Ok(Resolved {
        adapter,
        ..resolved
    })
}

impl Routers {
    fn get(
        &self,
        alias: &AliasName,
        store: &Store,
        routes: &Routes,
    ) -> Result<Arc<Router>, Problem> {
        if let Some(found) = find(&mut self.kept(), alias, routes) {
            return Ok(found);
        }
        let router = Arc::new(build(store, routes)?);
        let mut kept = self.kept();
        // Another request may have built it meanwhile.
        if let Some(found) = find(&mut kept, alias, routes) {
            return Ok(found);
        }
        // Older versions answer only who names them.
        if kept.iter().filter(|k| k.alias == *alias).count() >= KEPT_OF_ALIAS {
            let oldest = kept.iter().position(|k| k.alias == *alias);
            oldest.and_then(|at| kept.remove(at));
        }
        kept.push_back(Kept {
            alias: alias.clone(),
            routes: routes.clone(),
            router: router.clone(),
        });
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(router)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for stays longest.
fn find(kept: &mut VecDeque<Kept>, alias: &AliasName, routes: &Routes) -> Option<Arc<Router>> {
    let fits = |k: &Kept| k.alias == *alias && k.routes.documents == routes.documents;
    let at = kept.iter().position(fits)?;
    let found = kept.remove(at)?;
    let router = found.router.clone();
    kept.push_back(found);
    Some(router)
}

/// A document that is gone keeps its place, empty.
fn build(store: &Store, routes: &Routes) -> Result<Router, Problem> {
    let mut documents: Vec<(Passage, Vec<TrainingText>)> = Vec::new();
    for (id, _) in &routes.documents {
        let document = store.documents().get(id)?;
        let (title, text, report) = document.map_or_else(Default::default, |d| {
            (d.title, d.text, d.report.unwrap_or_default())
        });
        let texts = serde_json::from_value(report["training_sequences"].clone());
        documents.push((Passage::posted(&title, &text), texts.unwrap_or_default()));
    }
    Ok(replay::router(
        documents.iter().map(|(p, texts)| (p, texts.as_slice())),
    ))
}
