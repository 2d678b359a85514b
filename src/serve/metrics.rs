//! The server's figures for Prometheus. A request costs two reads of the clock and a few increments: all
//! series of the request families exist from the start and are found by index, so that no label is built
//! on the byte path. What devices count is read from the store when it is asked for.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    /// Swift.
    Swift,
    /// S3.
    S3,
    /// Web sites.
    Website,
    /// Keystone.
    Identity,
    /// The gateway itself: health, metrics, unknown paths.
    Gateway,
}

/// Status class of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Success,
    Redirection,
    ClientError,
    ServerError,
}

/// Methods that are told apart; an unknown one counts as `other`, so that clients cannot make series.
const METHODS: [&str; 9] = ["GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "PATCH", "other"];
const DOORS: [Door; 5] = [Door::Swift, Door::S3, Door::Website, Door::Identity, Door::Gateway];
const CLASSES: [Class; 4] = [Class::Success, Class::Redirection, Class::ClientError, Class::ServerError];

/// Upper bounds of the latency histogram: 100 µs, doubling, to 13 s; the fastest answers and the slowest
/// acceptable ones lie inside.
const LATENCY_FIRST_SECONDS: f64 = 0.0001;
const LATENCY_BUCKETS: u16 = 18;

impl Door {
    fn name(self) -> &'static str {
        match self {
            Self::Swift => "swift",
            Self::S3 => "s3",
            Self::Website => "website",
            Self::Identity => "identity",
            Self::Gateway => "gateway",
        }
    }
}

impl EncodeLabelValue for Door {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(self.name())
    }
}

impl EncodeLabelValue for Class {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    door: Door,
    method: &'static str,
    status: Class,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    door: Door,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    door: Door,
}

/// All series of one door and method.
#[derive(Debug)]
struct Series {
    answers: [Counter; CLASSES.len()],
    seconds: Histogram,
    running: Gauge,
    sent_bytes: Counter,
}

/// The families and their series.
pub(crate) struct Metrics {
    registry: Registry,
    // Door by door, each with all methods.
    series: Vec<Arc<Series>>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let answers = Family::<AnswerLabels, Counter>::default();
        let seconds = Family::<RequestLabels, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(LATENCY_FIRST_SECONDS, 2.0, LATENCY_BUCKETS))
        });
        let running = Family::<DoorLabels, Gauge>::default();
        let sent_bytes = Family::<DoorLabels, Counter>::default();
        let series = DOORS
            .into_iter()
            .flat_map(|door| METHODS.into_iter().map(move |method| (door, method)))
            .map(|(door, method)| {
                Arc::new(Series {
                    answers: CLASSES.map(|status| answers.get_or_create_owned(&AnswerLabels { door, method, status })),
                    seconds: seconds.get_or_create_owned(&RequestLabels { door, method }),
                    running: running.get_or_create_owned(&DoorLabels { door }),
                    sent_bytes: sent_bytes.get_or_create_owned(&DoorLabels { door }),
                })
            })
            .collect();
        let mut registry = Registry::with_prefix("anello");
        registry.register("requests", "Requests answered", answers);
        let help = "Time from a request's head to the end of its answer";
        registry.register_with_unit("request", help, Unit::Seconds, seconds);
        registry.register("requests_running", "Requests being answered", running);
        registry.register_with_unit("sent", "Bytes of answers' bodies", Unit::Bytes, sent_bytes);
        Self { registry, series }
    }

    /// A request begins.
    pub(crate) fn begin(&self, door: Door, method: &Method) -> Meter {
        let series = self.series[door as usize * METHODS.len() + method_index(method)].clone();
        series.running.inc();
        Meter { series, start: Instant::now(), class: Class::ClientError, sent_bytes: 0 }
    }

    /// The text that Prometheus reads: these families, and those of `others`.
    pub(crate) fn encode(&self, others: &[Registry]) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(EXPECTED_TEXT_BYTES);
        encode_registry(&mut text, &self.registry)?;
        for registry in others {
            encode_registry(&mut text, registry)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The text with all series; only a first guess of what to allocate.
const EXPECTED_TEXT_BYTES: usize = 128 * 1024;

fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

/// One request's figures; they are counted when it is dropped, that is when its answer has ended. A
/// request that its client leaves before the answer counts as a client error.
#[derive(Debug)]
pub(crate) struct Meter {
    series: Arc<Series>,
    start: Instant,
    class: Class,
    sent_bytes: u64,
}

impl Meter {
    /// The answer has this status.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.class = match status.as_u16() {
            ..300 => Class::Success,
            300..400 => Class::Redirection,
            400..500 => Class::ClientError,
            _ => Class::ServerError,
        };
    }

    /// So many bytes of its body go out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// Time since the request's head.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.series.running.dec();
        self.series.answers[self.class as usize].inc();
        self.series.seconds.observe(self.start.elapsed().as_secs_f64());
        self.series.sent_bytes.inc_by(self.sent_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_once_under_its_door_method_and_class() {
        let metrics = Metrics::new();
        let mut meter = metrics.begin(Door::S3, &Method::GET);
        meter.answered(StatusCode::PARTIAL_CONTENT);
        meter.sent(4096);
        let text = metrics.encode(&[]).expect("text");
        assert!(text.contains("anello_requests_running{door=\"s3\"} 1\n"), "{text}");
        drop(meter);
        let text = metrics.encode(&[]).expect("text");
        for line in [
            "anello_requests_total{door=\"s3\",method=\"GET\",status=\"2xx\"} 1\n",
            "anello_requests_total{door=\"s3\",method=\"GET\",status=\"4xx\"} 0\n",
            "anello_requests_running{door=\"s3\"} 0\n",
            "anello_request_seconds_count{door=\"s3\",method=\"GET\"} 1\n",
            "anello_sent_bytes_total{door=\"s3\"} 4096\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_client_cannot_make_series_with_methods_of_its_own() {
        let metrics = Metrics::new();
        drop(metrics.begin(Door::Gateway, &Method::from_bytes(b"BREW").expect("a token")));
        let text = metrics.encode(&[]).expect("text");
        assert!(text.contains("{door=\"gateway\",method=\"other\",status=\"4xx\"} 1\n") && !text.contains("BREW"));
    }
}
