//! Throw-away adapters: aliases that are deleted when their time is over.
//!
//! When that is, the lineage of the live version says (`expires_at`); a version that somebody publishes on
//! top of it says nothing of the kind, and so the alias stays.

use super::{AliasName, Error, Lineage, Registry, Result};
use crate::store::{self, now};

/// What the names of throw-away aliases begin with.
pub const THROW_AWAY: &str = "adapt-";

/// Deletes what has expired. Returns how many.
pub fn delete_expired(registry: &Registry) -> Result<usize> {
    let (now, mut deleted) = (now(), 0);
    let mut after = Some(THROW_AWAY.to_owned());
    while let Some(cursor) = after {
        let page = registry.list(Some(&cursor), 500)?;
        after = page.next.filter(|name| name.starts_with(THROW_AWAY));
        for alias in page.items {
            let Some(live) = alias.live.filter(|_| alias.name.starts_with(THROW_AWAY)) else {
                continue;
            };
            let name = AliasName::parse(&alias.name)?;
            let version = registry.version(&name, live)?;
            // Times of one width sort as text.
            let lineage = Lineage::of(&version)?;
            if lineage.expires_at().is_none_or(|at| at > now.as_str()) {
                continue;
            }
            match registry.delete(&name, Some(live)) {
                Ok(()) => deleted += 1,
                // In use by a job, or moved meanwhile: the next round sees it as it is then.
                Err(Error::Store(
                    store::Error::AliasBusy { .. } | store::Error::Conflict { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(deleted)
}
