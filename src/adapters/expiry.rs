//! Throw-away adapters: aliases that are deleted when they expire.
//!
//! The lineage of the live version holds the time (`expires_at`). A version published later has no such time, so the
//! alias then stays.

use super::{AliasName, Error, Lineage, Registry, Result};
use crate::store::{self, now};

/// Prefix of the names of throw-away aliases.
pub const THROW_AWAY: &str = "adapt-";

/// Deletes the expired aliases and returns their number.
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
            // All times have the same width, so they compare as text.
            // One record that cannot be read must not keep the other aliases for ever.
            let lineage = match Lineage::of(&version) {
                Ok(lineage) => lineage,
                Err(error) => {
                    tracing::error!(%error, "a throw-away adapter is not deleted");
                    continue;
                }
            };
            if lineage.expires_at().is_none_or(|at| at > now.as_str()) {
                continue;
            }
            match registry.delete(&name, Some(live)) {
                Ok(()) => deleted += 1,
                // A job uses the alias, or somebody moved it meanwhile. The next round looks again.
                Err(Error::Store(
                    store::Error::AliasBusy { .. } | store::Error::Conflict { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(deleted)
}
