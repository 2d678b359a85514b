//! Many hosts as one store: who belongs to it ([`map`]), how they come together ([`member`]), and how they change
//! ([`change`]).

mod change;
mod map;
mod member;

pub(crate) use change::Progress;
pub use map::{ClusterMap, Host, HostDevice, HostState};
pub(crate) use member::Roll;
pub use member::{ClusterStatus, HostStatus, Member, MemberOptions, Part};
