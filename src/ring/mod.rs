//! `anello ring`: makes and changes rings. What a command does is `anello-ring`'s; here it is read from
//! the command line, files are loaded and saved, and the outcome is shown.
//!
//! A builder file keeps everything; the ring file beside it (`object.builder`, `object.ring.gz`) is what
//! servers read, in Swift's format. Devices are named in Swift's short form, `r1z1-10.0.0.1:6200/sdb1`.

mod files;
mod show;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anello_base::{Clock, SystemClock};
use anello_ring::{Builder, Device, DeviceMatch, PartPower, Region, Ring, Step, Zone};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Outcome;
use crate::terminal::{note, say};
use files::Folder;

#[derive(Debug, Subcommand)]
pub(crate) enum RingCommand {
    /// Make a builder file without devices
    Create {
        builder: PathBuf,
        /// The ring has two to this power partitions; it cannot be changed later. 100 per device is a good number
        #[arg(long, default_value_t = 14)]
        part_power: u8,
        /// Replicas of each partition; 2.5 gives half of the partitions three
        #[arg(long, default_value_t = 3.0)]
        replicas: f64,
        /// Hours for which a partition rests after a move; more than a full pass of replication takes
        #[arg(long, default_value_t = 1)]
        min_part_hours: u16,
    },
    /// Add devices; they get partitions with the next rebalance
    Add {
        builder: PathBuf,
        /// Device and weight, any number of times: r1z1-10.0.0.1:6200/sdb1 100
        #[arg(required = true, num_args = 2.., value_names = ["DEVICE", "WEIGHT"])]
        devices: Vec<String>,
    },
    /// Take lost devices out; the next rebalance gives their partitions to others at once
    Remove {
        builder: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Change the weight of devices; 0 drains them
    SetWeight {
        builder: PathBuf,
        weight: f64,
        #[command(flatten)]
        which: Which,
    },
    /// Put devices into another region or zone
    SetDomain {
        builder: PathBuf,
        #[arg(long, required_unless_present = "zone")]
        region: Option<u32>,
        #[arg(long)]
        zone: Option<u32>,
        #[command(flatten)]
        which: Which,
    },
    /// Change address, port, name or remark of a device; no partition moves
    SetInfo {
        builder: PathBuf,
        /// What is to be different: 10.0.0.2:6200R10.1.0.2:6200/sdc1_remark, or any part of that
        change: DeviceMatch,
        #[command(flatten)]
        which: Which,
    },
    /// Let devices take more than their weight for the sake of dispersion: 0.1, or 10%
    SetOverload { builder: PathBuf, overload: String },
    /// Change the number of replicas with the next rebalance
    SetReplicas { builder: PathBuf, replicas: f64 },
    /// Change how long a partition rests after a move
    SetMinPartHours { builder: PathBuf, hours: u16 },
    /// Let every partition move again; data moved lately may be out of reach for a while
    PretendMinPartHoursPassed { builder: PathBuf },
    /// Assign partitions, moving as few as possible, and write the ring file
    Rebalance {
        builder: PathBuf,
        /// Makes the outcome repeatable
        #[arg(long)]
        seed: Option<u64>,
        /// The ring file; by default the builder's name with .ring.gz
        #[arg(long)]
        ring: Option<PathBuf>,
    },
    /// Check that each partition has its number of distinct devices
    Validate {
        /// A builder file or a ring file
        file: PathBuf,
    },
    /// Show how far replicas are apart
    Dispersion {
        builder: PathBuf,
        /// Every region, zone, host and device, not only the worst
        #[arg(long, short)]
        verbose: bool,
    },
    /// Show rules and devices
    Info {
        /// A builder file or a ring file
        file: PathBuf,
    },
    /// Write the ring file again, after changes that need no rebalance
    WriteRing {
        builder: PathBuf,
        /// The ring file; by default the builder's name with .ring.gz
        #[arg(long)]
        ring: Option<PathBuf>,
    },
    /// Make a builder file from a ring file whose builder was lost, or which Swift's tools made
    WriteBuilder {
        ring: PathBuf,
        builder: PathBuf,
        /// Not kept in ring files
        #[arg(long, default_value_t = 24)]
        min_part_hours: u16,
    },
}

/// Which devices are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// d3, r1z2, 10.0.0.1:6200, /sdb1, _remark or several of these together; all that agree are meant
    #[arg(required = true, value_name = "DEVICE")]
    devices: Vec<DeviceMatch>,
    /// Allow one DEVICE to mean several
    #[arg(long)]
    all: bool,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0:?} is no number from 0 up")]
    Number(String),
    #[error("a device has no weight: give a device and its weight in turn")]
    Pairs,
    #[error("no device is meant by that; `anello ring info` lists them")]
    NoMatch,
    #[error("{0} devices are meant by that; name one, or say --all")]
    Ambiguous(usize),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
}

/// Runs `anello ring …`.
pub(crate) fn run(command: RingCommand) -> Outcome {
    match command {
        RingCommand::Create { builder, part_power, replicas, min_part_hours } => {
            let new = Builder::new(PartPower::new(part_power)?, replicas, min_part_hours)?;
            save_new(&builder, &new)
        }
        RingCommand::WriteBuilder { ring, builder, min_part_hours } => {
            save_new(&builder, &Builder::from_ring(&files::read_ring(&ring)?, min_part_hours)?)
        }
        RingCommand::Rebalance { builder, seed, ring } => rebalance(&builder, seed, ring),
        RingCommand::WriteRing { builder, ring } => {
            let ring_file = ring.unwrap_or_else(|| files::ring_file(&builder));
            let folder = Folder::lock(&ring_file)?;
            let ring = files::read_builder(&builder)?.ring()?;
            folder.write(&ring_file, |target| ring.write(target))?;
            say(format_args!("Wrote {}.", ring_file.display()));
            Ok(())
        }
        RingCommand::Validate { file } => validate(&file),
        RingCommand::Dispersion { builder, verbose } => {
            let builder = files::read_builder(&builder)?;
            show::dispersion(&builder, &builder.dispersion()?, verbose)
        }
        RingCommand::Info { file } => match files::read(&file)? {
            files::Either::Builder(builder) => show::builder(&builder, SystemClock.wall()),
            files::Either::Ring(ring) => show::ring(&ring),
        },
        command => change(command),
    }
}

/// The commands that load a builder, change it, and save it.
fn change(command: RingCommand) -> Outcome {
    match command {
        RingCommand::Add { builder, devices } => edit(&builder, |builder| add(builder, &devices)),
        RingCommand::Remove { builder, which } => each(&builder, &which, |builder, device| builder.remove(device.id)),
        RingCommand::SetWeight { builder, weight, which } => {
            each(&builder, &which, |builder, device| builder.set_weight(device.id, weight))
        }
        RingCommand::SetDomain { builder, region, zone, which } => each(&builder, &which, |builder, device| {
            let (region, zone) = (region.map_or(device.region, Region), zone.map_or(device.zone, Zone));
            builder.set_domain(device.id, region, zone)
        }),
        RingCommand::SetInfo { builder, change, which } => {
            each(&builder, &which, |builder, device| builder.set_info(device.id, change.clone().applied_to(device)))
        }
        RingCommand::SetOverload { builder, overload } => {
            let overload = fraction(&overload)?;
            edit(&builder, |builder| Ok(builder.set_overload(overload)?))
        }
        RingCommand::SetReplicas { builder, replicas } => edit(&builder, |builder| Ok(builder.set_replicas(replicas)?)),
        RingCommand::SetMinPartHours { builder, hours } => edit(&builder, |builder| {
            builder.set_min_part_hours(hours);
            Ok(())
        }),
        RingCommand::PretendMinPartHoursPassed { builder } => edit(&builder, |builder| {
            builder.pretend_min_part_hours_passed();
            Ok(())
        }),
        other => unreachable!("{other:?} changes nothing and was run before"),
    }
}

/// Loads, changes and saves a builder; nobody else changes the folder's rings meanwhile.
fn edit(path: &Path, change: impl FnOnce(&mut Builder) -> Outcome) -> Outcome {
    let folder = Folder::lock(path)?;
    let mut builder = files::read_builder(path)?;
    change(&mut builder)?;
    folder.write(path, |target| builder.write(target))
}

fn save_new(path: &Path, builder: &Builder) -> Outcome {
    let folder = Folder::lock(path)?;
    if path.exists() {
        return Err(CommandError::Exists(path.to_owned()).into());
    }
    folder.write(path, |target| builder.write(target))
}

fn add(builder: &mut Builder, devices: &[String]) -> Outcome {
    let pairs = devices.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(CommandError::Pairs.into());
    }
    for pair in pairs {
        let weight = pair[1].parse().map_err(|_| CommandError::Number(pair[1].clone()))?;
        let device = pair[0].parse::<DeviceMatch>()?.into_device(weight)?;
        let shown = device.to_string();
        let id = builder.add(device)?;
        say(format_args!("Device {id} is {}, weight {weight}.", shown.trim_start_matches("d0")));
    }
    Ok(())
}

/// Changes each device that is meant, all or none.
fn each(
    path: &Path,
    which: &Which,
    change: impl Fn(&mut Builder, &Device) -> Result<(), anello_ring::Error>,
) -> Outcome {
    edit(path, |builder| {
        for wanted in &which.devices {
            let stays = |device: &&Device| !builder.is_leaving(device.id) && wanted.matches(device);
            let meant: Vec<Device> = builder.devices().filter(stays).cloned().collect();
            match meant.len() {
                0 => return Err(CommandError::NoMatch.into()),
                count if count > 1 && !which.all => return Err(CommandError::Ambiguous(count).into()),
                _ => (),
            }
            for device in &meant {
                change(builder, device)?;
                say(format_args!("{device}"));
            }
        }
        Ok(())
    })
}

/// `0.1` or `10%`.
fn fraction(text: &str) -> Result<f64, CommandError> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    number.parse::<f64>().map(|number| number / scale).map_err(|_| CommandError::Number(text.to_owned()))
}

fn rebalance(path: &Path, seed: Option<u64>, ring_file: Option<PathBuf>) -> Outcome {
    let folder = Folder::lock(path)?;
    let mut builder = files::read_builder(path)?;
    let now = SystemClock.wall();
    let resting = builder.resting(now);
    let bar = progress();
    let outcome = builder.rebalance(now, seed.unwrap_or_else(rand::random), &mut |step, done, total| {
        bar.set_length(total as u64);
        bar.set_message(describe(step));
        bar.set_position(done as u64);
    })?;
    bar.set_message("writing files");
    let ring_file = ring_file.unwrap_or_else(|| files::ring_file(path));
    let ring = builder.ring()?;
    folder.write(path, |target| builder.write(target))?;
    Folder::lock_other(&folder, &ring_file)?.write(&ring_file, |target| ring.write(target))?;
    bar.finish_and_clear();

    let slots: usize = ring.partitions().map(|partition| ring.primaries(partition).len()).sum();
    say(format_args!(
        "Moved {} of {slots} replicas ({:.2} %). Balance {:.2} %, dispersion {:.2} %.",
        outcome.moved,
        100.0 * outcome.moved as f64 / slots as f64,
        outcome.balance_percent,
        outcome.dispersion_percent
    ));
    if outcome.removed_devices > 0 {
        say(format_args!("Devices taken out: {}.", outcome.removed_devices));
    }
    if resting > 0 {
        note(format_args!(
            "{resting} partitions were moved less than {} hours ago and rested, save for lost devices.",
            builder.min_part_hours()
        ));
    }
    say(format_args!("Wrote {}.", ring_file.display()));
    Ok(())
}

fn validate(path: &Path) -> Outcome {
    match files::read(path)? {
        files::Either::Builder(builder) => builder.validate()?,
        files::Either::Ring(ring) => Ring::validate(&ring)?,
    }
    say("Every partition has its number of distinct devices.");
    Ok(())
}

fn progress() -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{msg:>20} {wide_bar} {human_pos}/{human_len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, target).with_style(style)
}

fn describe(step: Step) -> &'static str {
    match step {
        Step::Fill => "first assignment",
        Step::Holes => "filling holes",
        Step::Disperse => "moving apart",
        Step::Balance => "balancing",
        Step::Exchange => "exchanging",
    }
}
