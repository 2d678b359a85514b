//! Moves the records from one back end to another: nothing is changed any more, everything is copied and compared, and
//! the server is to be started again with the other back end. A copy that fails leaves all as it was. Databases of single
//! domains stay where they are; [`domain`] moves into and out of those.

mod domain;

use crate::IdentityRoom;
use crate::error::{Error, Result};
use crate::records::{Expect, Kind, Records};

impl IdentityRoom {
    /// Copies all records to an empty back end, and tells how many. From then on this room changes nothing.
    pub async fn migrate(&self, to: &dyn Records) -> Result<usize> {
        let _one_at_a_time = self.migrating.lock().await;
        to.prepare().await?;
        for kind in Kind::ALL {
            if !to.versions(kind).await?.is_empty() {
                return Err(Error::Invalid("the back end that is to be moved to holds records already".to_owned()));
            }
        }
        self.directory.freeze(true);
        let copied = self.copy(to).await;
        if copied.is_err() {
            self.directory.freeze(false);
        }
        copied
    }

    async fn copy(&self, to: &dyn Records) -> Result<usize> {
        let from = self.records.main();
        let mut count = 0;
        // Claims on names last: what is cut short before them is shown by no room.
        for kind in Kind::ALL {
            for (id, version) in from.versions(kind).await? {
                let Some((_, data)) = from.get(kind, &id).await? else { continue };
                let written = to.put(kind, &id, data, Expect::Absent).await?;
                if written.etag != version.etag {
                    let why = "it was changed while it was copied".to_owned();
                    return Err(Error::Corrupt { kind: kind.container(), id, why });
                }
                count += 1;
            }
        }
        Ok(count)
    }
}
