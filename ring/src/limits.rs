//! Every limit of placement, with its reason.

/// Largest part power. 16,777,216 partitions give each of 65,535 devices some 768 of three replicas,
/// which balances to a fraction of a percent; more only costs memory. Larger ones are refused.
pub const PART_POWER_MAX: u8 = 24;

/// Most replicas of a partition: wider than any erasure code in use (20+8), small enough that a
/// partition's replicas are compared one by one.
pub const REPLICAS_MAX: usize = 64;

/// Most assignments in a ring (512 MiB of table). A file that claims more is refused unread.
pub const SLOTS_MAX: usize = 1 << 28;

/// Most devices: Swift's ring file holds device ids in 16 bits, the last of which means "none".
pub const DEVICES_MAX: usize = 65_535;

/// Longest JSON head of a ring or builder file: 1 KiB for each of the most devices.
pub const HEAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest address, device name or remark of a device, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Probes of the table for a hand-off in a fresh region, zone or host, or for any other device, before
/// the devices are gone through in order. The table finds one in a few probes when weights are even.
pub const HANDOFF_PROBES_MAX: usize = 512;

/// Tries to free a place for one blocked assignment by moving another out of its way.
pub const EXCHANGE_TRIES: usize = 64;

/// Blocked assignments for which such tries are made in one rebalance. What is left waits for the next.
pub const EXCHANGES_MAX: usize = 20_000;

/// Balance shown for a device that should hold nothing and holds something (Swift's figure).
pub const BALANCE_PERCENT_MAX: f64 = 999.99;

const _: () = assert!(1 << PART_POWER_MAX <= SLOTS_MAX && REPLICAS_MAX <= u8::MAX as usize);
