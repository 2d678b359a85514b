//! Changes of the cluster itself while everything else goes on: hosts that join, are drained, or have their disk
//! replaced by an empty one.

use std::sync::Arc;
use std::time::Duration;

use super::host::{End, Host, address, name};
use super::trace;
use super::world::{Started, World};
use crate::cluster::Part;

/// Time for a host to join once everything is as it should be.
const JOIN_TIMEOUT: Duration = Duration::from_secs(300);

impl World {
    /// One more host comes, in its own time: it may not reach the others at first.
    pub(crate) fn join(&mut self) {
        if self.joining.is_some() {
            return;
        }
        let mut host = Host::new(self.hosts.len(), self.disks, self.directory.path(), self.begun);
        let (network, daemons) = (Arc::clone(&self.network), self.daemons.clone());
        self.joining = Some(tokio::spawn(async move {
            let started = host.start(&network, Part::Join(address(&name(0))), daemons).await;
            (host, started)
        }));
    }

    /// Takes in a host that has joined; with `wait` one that is about to.
    pub(crate) async fn take_in(&mut self, wait: bool) -> Result<(), String> {
        let Some(joining) = self.joining.take_if(|joining| wait || joining.is_finished()) else { return Ok(()) };
        let joined = tokio::time::timeout(JOIN_TIMEOUT, joining).await;
        let joined = joined.map_err(|_| format!("a host can't join: {:?}", self.unrest()))?;
        let (host, started): (Host, Started) = joined.map_err(|error| error.to_string())?;
        trace::note(format_args!("{} has joined", host.name));
        self.hosts.push(host);
        self.open_door(self.hosts.len() - 1, started);
        Ok(())
    }

    /// A host's data are to move to others, if there are enough of them.
    pub(crate) fn drain(&self, host: usize) {
        let Some((_, store, _)) = self.doors.any().filter(|_| self.hosts.len() > 3) else { return };
        let name = self.hosts[host].name.clone();
        // It may have to wait, or be refused, while other changes go on.
        tokio::spawn(async move { store.drain_host(&name).await });
    }

    /// One of a host's disks is replaced by an empty one.
    pub(crate) async fn replace_disk(&mut self, host: usize) {
        self.end(host, End::Kill).await;
        self.hosts[host].replace_disk();
        self.start(host).await;
    }

    /// Why the cluster is not at rest yet.
    pub(crate) fn unrest(&self) -> Option<String> {
        let statuses: Vec<_> = self.stores().iter().filter_map(|store| store.status().cluster).collect();
        let is_calm = |epoch: u64| {
            statuses.iter().all(|status| status.change.is_none() && status.epoch == epoch && status.is_settled)
        };
        let first = statuses.first()?;
        (!is_calm(first.epoch)).then(|| {
            let told = statuses.iter().map(|status| (status.epoch, status.change.as_deref(), status.is_settled));
            let daemons = self.stores().into_iter().flat_map(|store| store.status().daemons);
            let errors = daemons.filter_map(|daemon| {
                (daemon.name == "replicator").then_some((
                    daemon.is_running,
                    daemon.passes,
                    daemon.errors,
                    daemon.waiting,
                    daemon.last_error,
                ))
            });
            format!("the rings change: {:?}; {:?}", told.collect::<Vec<_>>(), errors.collect::<Vec<_>>())
        })
    }
}
