//! Whether an answer may be out of date. What is read where fewer than a majority of the devices answered is served, and
//! a later version may have been acknowledged; whoever answers a client is told, however deep below him that was.

use std::cell::Cell;
use std::future::Future;

tokio::task_local! {
    static DOUBT: Cell<bool>;
}

/// Does `work`, and tells whether anything that it read in this task may be out of date: an object, or what is known of a
/// container or an account.
pub async fn watched<F: Future>(work: F) -> (F::Output, bool) {
    let work = async {
        let output = work.await;
        (output, DOUBT.with(Cell::get))
    };
    DOUBT.scope(Cell::new(false), work).await
}

/// Whether anything that was read so far in this task may be out of date.
pub fn is_in_doubt() -> bool {
    DOUBT.try_with(Cell::get).unwrap_or(false)
}

/// What is served was read from fewer than a majority.
pub(super) fn doubt() {
    // Nobody may want to know.
    let _ = DOUBT.try_with(|doubt| doubt.set(true));
}
