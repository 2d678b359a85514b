//! Listings of several replicas as one. Each of a majority gives its page; what all of them show is right, and
//! what only some show is looked up at the others: it may have come later, or may have been deleted. So a
//! listing shows every row that was acknowledged and none whose deletion was.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use futures::future::BoxFuture;

use super::Store;
use super::placement::{Placement, Slot};
use super::read::ask_majority;
use crate::error::Result;
use crate::key::KeyHash;
use crate::model::{ContainerEntry, Known, ListQuery, Listed, ObjectEntry};
use crate::node::Node;

/// A kind of row.
pub(super) trait Row: Clone + Send + Sync + 'static {
    fn name(&self) -> &str;

    /// What must be equal for two replicas to agree.
    fn same(&self, other: &Self) -> bool;

    fn page(node: Node, parent: KeyHash, query: ListQuery) -> impl Future<Output = Result<Vec<Listed<Self>>>> + Send;

    fn known(node: Node, parent: KeyHash, names: Vec<String>) -> impl Future<Output = Result<Vec<Known<Self>>>> + Send;
}

impl Row for ObjectEntry {
    fn name(&self) -> &str {
        &self.name
    }

    fn same(&self, other: &Self) -> bool {
        // A replica may have heard of new metadata and not of the data that they are of.
        self == other
    }

    async fn page(node: Node, parent: KeyHash, query: ListQuery) -> Result<Vec<Listed<Self>>> {
        node.objects(parent, &query).await
    }

    async fn known(node: Node, parent: KeyHash, names: Vec<String>) -> Result<Vec<Known<Self>>> {
        node.object_rows(parent, names).await
    }
}

impl Row for ContainerEntry {
    fn name(&self) -> &str {
        &self.name
    }

    /// Counts follow on their own.
    fn same(&self, other: &Self) -> bool {
        (self.created, self.modified) == (other.created, other.modified)
    }

    async fn page(node: Node, parent: KeyHash, query: ListQuery) -> Result<Vec<Listed<Self>>> {
        node.containers(parent, &query).await
    }

    async fn known(node: Node, parent: KeyHash, names: Vec<String>) -> Result<Vec<Known<Self>>> {
        node.container_rows(parent, names).await
    }
}

/// Which of the versions that several replicas know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Newest,
    Oldest,
}

impl Of {
    /// How a version that is chosen compares to another one.
    fn order(self) -> Ordering {
        match self {
            Self::Newest => Ordering::Greater,
            Self::Oldest => Ordering::Less,
        }
    }
}

/// Where it stands in the listing.
fn key<E: Row>(row: &Listed<E>) -> &str {
    match row {
        Listed::Entry(entry) => entry.name(),
        Listed::Prefix(prefix) => prefix,
    }
}

/// How one replica's page and another's differ.
struct Merged<E> {
    /// By key: the row or prefix, and how many replicas show it so.
    rows: BTreeMap<String, (Listed<E>, usize)>,
    /// The last key of the page that ends first, behind which the merged page is not known; `None` where every
    /// page is the last.
    end: Option<String>,
}

impl Store {
    /// Rows below `parent`.
    pub(super) fn list<'a, E: Row>(
        &'a self,
        placement: &'a Placement,
        parent: KeyHash,
        sets: &'a [Vec<Slot>],
        query: &'a ListQuery,
    ) -> BoxFuture<'a, Result<Vec<Listed<E>>>> {
        Box::pin(async move {
            let mut listed: Vec<Listed<E>> = Vec::new();
            let (wanted, mut query) = (query.limit, query.clone());
            loop {
                let ask = |node| E::page(node, parent, query.clone());
                let answers = ask_majority(placement, sets, ask).await;
                if let Some(lacking) = answers.lacking {
                    return Err(lacking);
                }
                let mut pages = answers.found;
                if pages.len() == 1 && listed.is_empty() {
                    return Ok(pages.swap_remove(0));
                }
                let replicas = pages.len();
                let merged = merge(pages, &query);
                let rows = self.settle(placement, parent, sets, merged.rows, replicas, &query).await?;
                listed.extend(rows);
                match merged.end {
                    Some(end) if listed.len() < wanted => query.marker = Some(end),
                    _ => break,
                }
                query.limit = wanted - listed.len();
            }
            Ok(listed)
        })
    }

    /// The rows that are there, in the listing's order: those that all replicas show, and of the others those whose
    /// newest version is one.
    async fn settle<E: Row>(
        &self,
        placement: &Placement,
        parent: KeyHash,
        sets: &[Vec<Slot>],
        rows: BTreeMap<String, (Listed<E>, usize)>,
        replicas: usize,
        query: &ListQuery,
    ) -> Result<Vec<Listed<E>>> {
        let disputed: Vec<String> = rows
            .iter()
            .filter(|(_, (row, shown))| *shown < replicas && matches!(row, Listed::Entry(_)))
            .map(|(name, _)| name.clone())
            .collect();
        let mut resolved = self.resolve::<E>(placement, parent, sets, disputed).await?;
        let mut settled = Vec::with_capacity(rows.len());
        for (name, (row, shown)) in rows {
            if shown == replicas {
                settled.push(row);
            } else if let Listed::Entry(_) = row {
                settled.extend(resolved.remove(&name).flatten().map(Listed::Entry));
            } else if self.is_any_below::<E>(placement, parent, sets, name).await? {
                settled.push(row);
            }
        }
        if query.reverse {
            settled.reverse();
        }
        settled.truncate(query.limit);
        Ok(settled)
    }

    /// The newest version of each name; `None` where that is a deletion.
    async fn resolve<E: Row>(
        &self,
        placement: &Placement,
        parent: KeyHash,
        sets: &[Vec<Slot>],
        names: Vec<String>,
    ) -> Result<BTreeMap<String, Option<E>>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let newest = self.known_rows(placement, parent, sets, &names, Of::Newest).await?;
        Ok(names.into_iter().zip(newest.into_iter().map(|known| known.info)).collect())
    }

    /// The newest version of each name that a majority knows, or the oldest: all of them have that, or a later one.
    pub(super) async fn known_rows<E: Row>(
        &self,
        placement: &Placement,
        parent: KeyHash,
        sets: &[Vec<Slot>],
        names: &[String],
        of: Of,
    ) -> Result<Vec<Known<E>>> {
        let ask = |node| E::known(node, parent, names.to_vec());
        let answers = ask_majority(placement, sets, ask).await;
        if let Some(lacking) = answers.lacking {
            return Err(lacking);
        }
        let mut answers = answers.found.into_iter();
        let mut chosen = answers.next().unwrap_or_default();
        for known in answers {
            for (chosen, known) in chosen.iter_mut().zip(known) {
                let order = (known.version, known.changes).cmp(&(chosen.version, chosen.changes));
                if order == of.order() {
                    *chosen = known;
                }
            }
        }
        Ok(chosen)
    }

    /// Whether a prefix that only some replicas show has rows below it.
    async fn is_any_below<E: Row>(
        &self,
        placement: &Placement,
        parent: KeyHash,
        sets: &[Vec<Slot>],
        prefix: String,
    ) -> Result<bool> {
        let query = ListQuery { prefix, limit: 1, ..ListQuery::default() };
        Ok(!self.list::<E>(placement, parent, sets, &query).await?.is_empty())
    }
}

fn merge<E: Row>(pages: Vec<Vec<Listed<E>>>, query: &ListQuery) -> Merged<E> {
    let ends = pages.iter().filter(|page| page.len() >= query.limit).filter_map(|page| page.last());
    let ends = ends.map(|last| key(last).to_owned());
    let end = if query.reverse { ends.max() } else { ends.min() };
    let is_behind = |name: &str| end.as_deref().is_some_and(|end| if query.reverse { name < end } else { name > end });
    let mut rows: BTreeMap<String, (Listed<E>, usize)> = BTreeMap::new();
    for row in pages.into_iter().flatten().filter(|row| !is_behind(key(row))) {
        match rows.get_mut(key(&row)) {
            None => {
                rows.insert(key(&row).to_owned(), (row, 1));
            }
            Some((Listed::Entry(have), shown)) => match &row {
                Listed::Entry(row) if have.same(row) => *shown += 1,
                Listed::Entry(_) | Listed::Prefix(_) => {}
            },
            Some((Listed::Prefix(_), shown)) => *shown += 1,
        }
    }
    Merged { rows, end }
}
