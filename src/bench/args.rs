//! The options of `anello bench`, and the checked plan that they make.

use std::path::PathBuf;
use std::time::Duration;

use anello_base::units::parse_size;
use clap::{Args, ValueEnum};

use crate::bench::workload::Operation;

/// Workers at most: each is a connection and a file descriptor.
const CONCURRENCY_MAX: usize = 4096;

/// Threads at most; the generator is to leave the machine to the server.
const THREADS_MAX: usize = 64;

/// Sizes that a range or a distribution is represented by, each with its hashes computed beforehand.
const SIZE_STEPS: usize = 64;

/// One PUT can be no larger anywhere (S3: 5 GiB), and a payload is held in memory.
const SIZE_MAX: u64 = 5 * anello_base::units::GIB;

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Api {
    /// S3, requests signed with Signature V4
    S3,
    /// Swift, with a token
    Swift,
}

/// How a Swift token is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthVersion {
    /// tempauth and its like: `X-Auth-User`, `X-Auth-Key`
    #[value(name = "1")]
    V1,
    /// Keystone, by password
    #[value(name = "3")]
    V3,
}

/// Which keys a PUT writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PutKeys {
    /// Each a new one
    New,
    /// One of the prepared ones
    Overwrite,
}

/// Options of `anello bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Protocol
    #[arg(long, value_enum, default_value = "s3")]
    api: Api,
    /// S3: URL of the endpoint (http://…)
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// S3: access key
    #[arg(long, value_name = "KEY", env = "AWS_ACCESS_KEY_ID")]
    access_key: Option<String>,
    /// S3: secret key
    #[arg(long, value_name = "KEY", env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// S3: region that is signed
    #[arg(long, value_name = "NAME", env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// Swift: how a token is got
    #[arg(long, value_enum, default_value = "3")]
    auth_version: AuthVersion,
    /// Swift: URL of the authentication (version 1: …/auth/v1.0, version 3: …/v3)
    #[arg(long, value_name = "URL", env = "OS_AUTH_URL")]
    auth_url: Option<String>,
    /// Swift: user
    #[arg(long, value_name = "NAME", env = "OS_USERNAME")]
    user: Option<String>,
    /// Swift: password
    #[arg(long, value_name = "SECRET", env = "OS_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Swift: project
    #[arg(long, value_name = "NAME", env = "OS_PROJECT_NAME")]
    project: Option<String>,
    /// Swift: domain of user and project
    #[arg(long, value_name = "NAME", env = "OS_USER_DOMAIN_NAME", default_value = "Default")]
    domain: String,
    /// Bucket or container; it is created where it is not there
    #[arg(long, value_name = "NAME", default_value = "anello-bench")]
    container: String,

    /// Operations by weight: put, get, head, list, delete
    #[arg(long, value_name = "OP=WEIGHT,…", default_value = "put=1")]
    mix: String,
    /// Object sizes: `4KiB`, a list `4KiB,1MiB`, a range `1KiB..1MiB` (even on a logarithmic scale), or
    /// `lognormal:MEDIAN:SIGMA`
    #[arg(long, value_name = "SIZES", default_value = "4KiB")]
    size: String,
    /// Workers, each with one connection
    #[arg(long, short, value_name = "N", default_value_t = 32)]
    concurrency: usize,
    /// Open loop: requests per second that are due, whatever the server does
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Time that is measured
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Requests that are measured, instead of a time
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    count: Option<u64>,
    /// Time before that, under the same load
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Objects that are written before the measurement, to be read, listed and deleted
    #[arg(long, value_name = "N")]
    keys: Option<u64>,
    /// What PUT writes
    #[arg(long, value_enum, default_value = "new")]
    put: PutKeys,
    /// What all keys begin with
    #[arg(long, value_name = "TEXT", default_value = "k/")]
    prefix: String,
    /// Directories that keys are spread over (`<prefix>d00007/…`); 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    directories: u64,
    /// Keys of one LIST operation, over as many pages as it takes
    #[arg(long, value_name = "N", default_value_t = 1000)]
    list_keys: u64,
    /// Delimiter of LIST
    #[arg(long, value_name = "TEXT")]
    list_delimiter: Option<String>,
    /// LIST one directory, chosen at random, instead of all
    #[arg(long)]
    list_directory: bool,
    /// Seed of contents and choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Do not compare what is read with what was stored
    #[arg(long)]
    no_verify: bool,
    /// Only write the objects
    #[arg(long, conflicts_with = "no_prepare")]
    prepare_only: bool,
    /// The objects are there, from an earlier run with the same keys, sizes and seed and --keep
    #[arg(long)]
    no_prepare: bool,
    /// Leave the objects there
    #[arg(long)]
    keep: bool,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Process of the server, for its CPU time and memory (several for several processes)
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// First data directory of an anello under test: its process and its devices' figures
    #[arg(long, value_name = "DIR")]
    control: Option<PathBuf>,
    /// An anello's /metrics, for its devices' figures
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// Block device (as in /sys/block) whose flushes and writes are counted, whoever causes them
    #[arg(long, value_name = "NAME")]
    block_device: Option<String>,

    /// Name of the run in its reports
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Write the figures as JSON (`-`: standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// No progress bar
    #[arg(long, short)]
    quiet: bool,
}

/// Options that do not go together, or a value that is not understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlanError(String);

fn wrong<T>(message: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError(message.into()))
}

/// Where the load goes and how it shows who it is. Secrets: no `Debug`.
pub(crate) struct Endpoint {
    pub(crate) container: String,
    pub(crate) access: Access,
}

/// By which protocol.
pub(crate) enum Access {
    S3 { endpoint: String, access_key: String, secret_key: String, region: String },
    SwiftV1 { auth_url: String, user: String, password: String },
    SwiftV3 { auth_url: String, user: String, password: String, project: String, domain: String },
}

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) endpoint: Endpoint,
    pub(crate) mix: Vec<(Operation, u32)>,
    pub(crate) sizes: Vec<u64>,
    pub(crate) size_text: String,
    pub(crate) concurrency: usize,
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Duration,
    pub(crate) count: Option<u64>,
    pub(crate) warm_up: Duration,
    pub(crate) keys: u64,
    pub(crate) put: PutKeys,
    pub(crate) prefix: String,
    pub(crate) directories: u64,
    pub(crate) list_keys: u64,
    pub(crate) list_delimiter: Option<String>,
    pub(crate) list_directory: bool,
    pub(crate) seed: u64,
    pub(crate) verify: bool,
    pub(crate) prepare: bool,
    pub(crate) measure: bool,
    pub(crate) keep: bool,
    pub(crate) threads: usize,
    pub(crate) server_pids: Vec<u32>,
    pub(crate) control: Option<PathBuf>,
    pub(crate) metrics_url: Option<String>,
    pub(crate) block_device: Option<String>,
    pub(crate) name: String,
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) quiet: bool,
}

impl Plan {
    pub(crate) fn new(args: BenchArgs) -> Result<Self, PlanError> {
        let mix = parse_mix(&args.mix)?;
        let sizes = parse_sizes(&args.size)?;
        let has = |operation| mix.iter().any(|(it, _)| *it == operation);
        let only_puts = mix.iter().all(|(operation, _)| *operation == Operation::Put) && args.put == PutKeys::New;
        let keys = args.keys.unwrap_or(if only_puts { 0 } else { 1000 });
        if keys == 0 && !only_puts {
            return wrong("this mix needs objects to work on: --keys");
        }
        if keys == 0 && args.prepare_only {
            return wrong("--prepare-only needs --keys");
        }
        if args.concurrency == 0 || args.concurrency > CONCURRENCY_MAX {
            return wrong(format!("--concurrency is from 1 to {CONCURRENCY_MAX}"));
        }
        if args.threads == 0 || args.threads > THREADS_MAX {
            return wrong(format!("--threads is from 1 to {THREADS_MAX}"));
        }
        if args.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return wrong("--rate is above 0");
        }
        if args.list_directory && (args.directories == 0 || !has(Operation::List)) {
            return wrong("--list-directory needs --directories and list in the mix");
        }
        for text in [&args.container, &args.prefix] {
            if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)) {
                return wrong(format!("{text:?}: only letters, digits and -._~/ here, so that no client encodes them"));
            }
        }
        Ok(Self {
            endpoint: endpoint(&args)?,
            name: args.name.unwrap_or_else(|| format!("{} {}, concurrency {}", args.mix, args.size, args.concurrency)),
            mix,
            sizes,
            size_text: args.size,
            concurrency: args.concurrency,
            rate: args.rate,
            duration: args.duration,
            count: args.count,
            warm_up: args.warm_up,
            keys,
            put: args.put,
            prefix: args.prefix,
            directories: args.directories,
            list_keys: args.list_keys,
            list_delimiter: args.list_delimiter,
            list_directory: args.list_directory,
            seed: args.seed,
            verify: !args.no_verify,
            prepare: !args.no_prepare && keys > 0,
            measure: !args.prepare_only,
            keep: args.keep || args.prepare_only,
            threads: args.threads.min(args.concurrency),
            server_pids: args.server_pid,
            control: args.control,
            metrics_url: args.metrics_url,
            block_device: args.block_device,
            json: args.json,
            html: args.html,
            quiet: args.quiet,
        })
    }
}

fn endpoint(args: &BenchArgs) -> Result<Endpoint, PlanError> {
    let need = |value: &Option<String>, option: &str| match value {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => wrong(format!("{option} is needed")),
    };
    let access = match (args.api, args.auth_version) {
        (Api::S3, _) => Access::S3 {
            endpoint: need(&args.endpoint, "--endpoint (AWS_ENDPOINT_URL)")?,
            access_key: need(&args.access_key, "--access-key (AWS_ACCESS_KEY_ID)")?,
            secret_key: need(&args.secret_key, "--secret-key (AWS_SECRET_ACCESS_KEY)")?,
            region: args.region.clone(),
        },
        (Api::Swift, AuthVersion::V1) => Access::SwiftV1 {
            auth_url: need(&args.auth_url, "--auth-url (OS_AUTH_URL)")?,
            user: need(&args.user, "--user (OS_USERNAME)")?,
            password: need(&args.password, "--password (OS_PASSWORD)")?,
        },
        (Api::Swift, AuthVersion::V3) => Access::SwiftV3 {
            auth_url: need(&args.auth_url, "--auth-url (OS_AUTH_URL)")?,
            user: need(&args.user, "--user (OS_USERNAME)")?,
            password: need(&args.password, "--password (OS_PASSWORD)")?,
            project: need(&args.project, "--project (OS_PROJECT_NAME)")?,
            domain: args.domain.clone(),
        },
    };
    Ok(Endpoint { container: args.container.clone(), access })
}

/// `put=1,get=9`; a bare name weighs 1.
fn parse_mix(text: &str) -> Result<Vec<(Operation, u32)>, PlanError> {
    let mut mix = Vec::new();
    for item in text.split(',') {
        let (name, weight) = item.trim().split_once('=').unwrap_or((item.trim(), "1"));
        let Some(operation) = Operation::named(name) else {
            return wrong(format!("{name:?} is no operation: put, get, head, list, delete"));
        };
        match weight.parse::<u32>() {
            Ok(0) => {}
            Ok(weight) => mix.push((operation, weight)),
            Err(_) => return wrong(format!("{weight:?} is no weight")),
        }
    }
    if mix.is_empty() { wrong("the mix is empty") } else { Ok(mix) }
}

/// The sizes that objects have, each as likely as the others.
fn parse_sizes(text: &str) -> Result<Vec<u64>, PlanError> {
    let size = |text: &str| match parse_size(text) {
        Some(size) if size <= SIZE_MAX => Ok(size),
        _ => wrong(format!("{text:?} is no size up to 5GiB")),
    };
    if let Some(rest) = text.strip_prefix("lognormal:") {
        let (median, sigma) = rest.split_once(':').unwrap_or((rest, "1"));
        let median = size(median)? as f64;
        let Ok(sigma) = sigma.parse::<f64>() else { return wrong(format!("{sigma:?} is no sigma")) };
        let steps = (0..SIZE_STEPS).map(|step| (step as f64 + 0.5) / SIZE_STEPS as f64);
        return Ok(steps
            .map(|share| ((median * (sigma * normal_quantile(share)).exp()) as u64).min(SIZE_MAX))
            .collect());
    }
    if let Some((low, high)) = text.split_once("..") {
        let (low, high) = (size(low)?.max(1) as f64, size(high)? as f64);
        if low > high {
            return wrong(format!("{text:?}: the range is empty"));
        }
        let steps = (0..SIZE_STEPS).map(|step| step as f64 / (SIZE_STEPS - 1) as f64);
        return Ok(steps.map(|share| (low * (high / low).powf(share)).round() as u64).collect());
    }
    text.split(',').map(size).collect()
}

/// Quantile of the standard normal distribution, by bisection of its distribution function (the error
/// function after Abramowitz and Stegun 7.1.26, to 1e-7): precise enough for sizes.
fn normal_quantile(share: f64) -> f64 {
    let distribution = |x: f64| {
        let t = 1.0 / (1.0 + 0.327_591_1 * x.abs() / std::f64::consts::SQRT_2);
        let series = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
        let error = 1.0 - series.iter().fold(0.0, |sum, term| (sum + term) * t) * (-x * x / 2.0).exp();
        if x >= 0.0 { f64::midpoint(1.0, error) } else { (1.0 - error) / 2.0 }
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if distribution(middle) < share { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// `10s`, `500ms`, `2m`, `1h`; a bare number is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit of time: ms, s, m, h")),
    };
    let seconds = number.parse::<f64>().map_err(|error| error.to_string())? * factor;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_their_distribution() {
        assert_eq!(parse_sizes("4KiB,1MiB").expect("list"), [4096, 1 << 20]);
        let range = parse_sizes("1KiB..1MiB").expect("range");
        assert_eq!((range[0], range[SIZE_STEPS - 1]), (1024, 1 << 20));
        let middle = range[SIZE_STEPS / 2];
        assert!((30_000..38_000).contains(&middle), "the middle of the logarithmic scale is 32 KiB, not {middle}");
        let lognormal = parse_sizes("lognormal:64KiB:1").expect("lognormal");
        let (low, high) = (lognormal[SIZE_STEPS / 2 - 1], lognormal[SIZE_STEPS / 2]);
        assert!(low < 65_536 && 65_536 < high && high - low < 6_000, "{low} {high}");
        for text in ["", "4parsec", "6GiB", "2..1", "lognormal:1k:x"] {
            assert!(parse_sizes(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mix_is_read_as_people_write_it() {
        assert_eq!(parse_mix("get=9, put").expect("mix"), [(Operation::Get, 9), (Operation::Put, 1)]);
        for text in ["", "fetch=1", "get=-1", "get=0"] {
            assert!(parse_mix(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, want) in [("500ms", 500), ("2", 2000), ("1.5s", 1500), ("2m", 120_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(want)), "{text:?}");
        }
        assert!(parse_duration("5 parsec").is_err() && parse_duration("-1s").is_err());
    }
}
