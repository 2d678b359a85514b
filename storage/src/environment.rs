//! What a simulation (`crate::simulation`) takes the place of, where arguments would have to be handed through every
//! layer: chance, and threads that may block. Clock, network and disk arrive as arguments.

use rand::distr::{Distribution, StandardUniform};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::error::{Error, Result};

/// A value by chance; in a simulation by its seed.
pub(crate) fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    #[cfg(test)]
    if let Some(value) = crate::simulation::chance::random() {
        return value;
    }
    rand::random()
}

/// Does work that blocks or takes long, where it is; the reactor's other tasks go on meanwhile.
pub(crate) fn blocking_here<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Does work that blocks, off the reactor; in a simulation at once. Dropped half-way, it is done all the same.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    #[cfg(test)]
    if crate::simulation::chance::is_simulated() {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped)?
}
