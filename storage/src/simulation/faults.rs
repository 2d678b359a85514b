//! What goes wrong, and that it is over again. A new fault is a [`Fault`], an arm of [`World::begin`] and one of
//! [`World::over`].

use std::time::Duration;

use super::host::End;
use super::network::Weather;
use super::world::World;
use super::{chance, trace};
use crate::device::disk::simulated::Faults;

/// One thing that goes wrong, with the number of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    PowerLoss(usize),
    /// All hosts lose power at once.
    Blackout,
    Kill(usize),
    Restart(usize),
    /// Nobody reaches the host, and it reaches nobody.
    Isolated(usize),
    /// The host is heard, and hears nobody.
    Deaf(usize),
    /// The host hears, and is not heard.
    Mute(usize),
    /// Two hosts do not reach each other.
    Parted(usize, usize),
    /// Calls are lost, late and repeated.
    BadWeather,
    SlowDisk(usize),
    FullDisk(usize),
    /// Writes fail until the host is started again.
    ReadOnlyDisk(usize),
    /// Reads do, too.
    DeadDisk(usize),
    /// Some bytes that were written are others now.
    Rot(usize),
    /// The clock jumps.
    Clock(usize),
    Join,
    Drain(usize),
    NewDisk(usize),
}

/// Clocks are off by so much at most: far below what hosts refuse, as NTP keeps them.
const SKEW_TICKS: u64 = 50_000;

/// The longest that an operation of a slow disk takes.
const SLOW_MS: u64 = 2000;

impl Fault {
    /// One for a cluster of so many hosts. Where the disk of one `rots` no host crashes: what a replay finds damaged
    /// that replica has lost, and with it a majority may have lost what was acknowledged.
    fn any(hosts: usize, rots: Option<usize>) -> Self {
        let host = chance::below(hosts as u64) as usize;
        let other = (host + 1 + chance::below(hosts as u64 - 1) as usize) % hosts;
        match (chance::below(18), rots) {
            (0..4 | 15, Some(victim)) => Self::Rot(victim),
            (4 | 17, Some(_)) => Self::Restart(host),
            (fault, _) => Self::numbered(fault, host, other),
        }
    }

    fn numbered(number: u64, host: usize, other: usize) -> Self {
        match number {
            0..3 => Self::PowerLoss(host),
            3 => Self::Blackout,
            4 => Self::Kill(host),
            5 => Self::Restart(host),
            6 | 7 => Self::Isolated(host),
            8 => Self::Deaf(host),
            9 => Self::Mute(host),
            10 => Self::Parted(host, other),
            11 | 12 => Self::BadWeather,
            13 => Self::SlowDisk(host),
            14 => Self::FullDisk(host),
            15 => Self::ReadOnlyDisk(host),
            16 => Self::Clock(host),
            _ => Self::DeadDisk(host),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::PowerLoss(_) => "power losses",
            Self::Blackout => "blackouts",
            Self::Kill(_) => "kills",
            Self::Restart(_) => "restarts",
            Self::Isolated(_) => "isolations",
            Self::Deaf(_) => "deaf hosts",
            Self::Mute(_) => "mute hosts",
            Self::Parted(..) => "partitions of two",
            Self::BadWeather => "bad weather",
            Self::SlowDisk(_) => "slow disks",
            Self::FullDisk(_) => "full disks",
            Self::ReadOnlyDisk(_) => "disks that fail to write",
            Self::DeadDisk(_) => "dead disks",
            Self::Rot(_) => "rotten blocks",
            Self::Clock(_) => "clock jumps",
            Self::Join => "hosts that join",
            Self::Drain(_) => "hosts that are drained",
            Self::NewDisk(_) => "disks replaced",
        }
    }
}

impl World {
    /// So many faults, one after the other or two at a time.
    pub(crate) async fn go_wrong(&mut self, faults: u64) {
        let mut open: Vec<Fault> = Vec::new();
        let rots = chance::percent(25).then(|| chance::below(self.hosts.len() as u64) as usize);
        // At most one of each kind: a second disk that is lost may be the last that had something.
        let mut changes = if rots.is_none() && chance::percent(30) { vec![0, 1, 2] } else { Vec::new() };
        for _ in 0..faults {
            pause(3000).await;
            let mut fault = Fault::any(self.hosts.len(), rots);
            if !changes.is_empty() && chance::percent(40) {
                let host = chance::below(self.hosts.len() as u64) as usize;
                fault = match changes.remove(chance::below(changes.len() as u64) as usize) {
                    0 => Fault::Join,
                    1 => Fault::Drain(host),
                    _ => Fault::NewDisk(host),
                };
            }
            trace::fault(fault.kind(), format_args!("{fault:?}"));
            self.begin(fault).await;
            open.push(fault);
            // What it is worth is told when everything is as it should be again.
            let _ = self.take_in(false).await;
            pause(6000).await;
            while open.len() > chance::below(2) as usize {
                let fault = open.remove(chance::below(open.len() as u64) as usize);
                trace::note(format_args!("over: {fault:?}"));
                self.over(fault).await;
                pause(1000).await;
            }
        }
    }

    async fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::PowerLoss(host) => self.end(host, End::PowerLoss).await,
            Fault::Blackout => {
                for host in 0..self.hosts.len() {
                    self.end(host, End::PowerLoss).await;
                }
            }
            Fault::Kill(host) => self.end(host, End::Kill).await,
            Fault::Restart(host) => self.end(host, End::Close).await,
            Fault::Isolated(host) => self.cut(host, true, true),
            Fault::Deaf(host) => self.cut(host, true, false),
            Fault::Mute(host) => self.cut(host, false, true),
            Fault::Parted(host, other) => {
                let (host, other) = (self.address(host), self.address(other));
                self.network.cut(&host, &other);
                self.network.cut(&other, &host);
            }
            Fault::BadWeather => self.network.set_weather(Weather {
                lost_percent: chance::below(15),
                repeated_percent: chance::below(15),
                late_percent: chance::below(60),
                longest_ms: chance::within(1..=20),
                latest_ms: chance::within(50..=3000),
            }),
            Fault::SlowDisk(host) => self.hosts[host].set_slowest(chance::within(50..=SLOW_MS)),
            Fault::FullDisk(host) => {
                let free_bytes = Some(chance::below(1 << 20));
                self.hosts[host].set_faults(Faults { free_bytes, ..Faults::default() });
            }
            Fault::ReadOnlyDisk(host) => {
                self.hosts[host].set_faults(Faults { write_error: Some(libc::EIO), ..Faults::default() });
            }
            Fault::DeadDisk(host) => {
                let error = Some(libc::EIO);
                self.hosts[host].set_faults(Faults { write_error: error, read_error: error, ..Faults::default() });
            }
            Fault::Rot(host) => self.hosts[host].rot(),
            Fault::Join => self.join(),
            Fault::Drain(host) => self.drain(host),
            Fault::NewDisk(host) => self.replace_disk(host).await,
            Fault::Clock(host) => {
                let offset = chance::below(2 * SKEW_TICKS).cast_signed() - SKEW_TICKS.cast_signed();
                self.hosts[host].set_clock(offset);
            }
        }
    }

    async fn over(&mut self, fault: Fault) {
        match fault {
            Fault::PowerLoss(host) | Fault::Kill(host) | Fault::Restart(host) if !self.hosts[host].is_up() => {
                self.start(host).await;
            }
            Fault::Blackout => {
                for host in 0..self.hosts.len() {
                    if !self.hosts[host].is_up() {
                        self.start(host).await;
                    }
                }
            }
            Fault::Isolated(_) | Fault::Deaf(_) | Fault::Mute(_) | Fault::Parted(..) => self.network.mend(),
            Fault::BadWeather => self.network.set_weather(Weather::FAIR),
            Fault::SlowDisk(host) | Fault::FullDisk(host) => self.hosts[host].repair_disks(),
            Fault::ReadOnlyDisk(host) | Fault::DeadDisk(host) => {
                self.hosts[host].repair_disks();
                self.end(host, End::Kill).await;
                self.start(host).await;
            }
            // Whoever is up again already, and what is not undone.
            _ => {}
        }
    }

    /// Everything is as it should be again.
    pub(crate) async fn recover(&mut self) -> Result<(), String> {
        self.network.mend();
        self.network.set_weather(Weather::FAIR);
        for number in 0..self.hosts.len() {
            self.hosts[number].repair_disks();
            if self.hosts[number].is_read_only() {
                self.end(number, End::Kill).await;
            }
            if !self.hosts[number].is_up() {
                self.start(number).await;
            }
        }
        self.take_in(true).await
    }

    fn cut(&self, host: usize, hears: bool, speaks: bool) {
        let me = self.address(host);
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            let other = self.address(other);
            if hears {
                self.network.cut(&other, &me);
            }
            if speaks {
                self.network.cut(&me, &other);
            }
        }
    }

    fn address(&self, host: usize) -> String {
        super::host::address(&self.hosts[host].name)
    }
}

async fn pause(longest_ms: u64) {
    tokio::time::sleep(Duration::from_millis(chance::below(longest_ms))).await;
}
