//! Many hosts as one store: who belongs to it ([`map`]), and how they come together ([`member`]).
//!
//! Left out so far: a change of the map once it is made. Hosts that join later, and data that move with the ring,
//! need replication first.

mod map;
mod member;

pub use map::{ClusterMap, Host, HostDevice};
pub(crate) use member::Roll;
pub use member::{ClusterStatus, Member, MemberOptions, Part};
