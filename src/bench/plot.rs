//! Plots as SVG text: lines over two axes, either of them linear or logarithmic. Nothing is loaded from
//! anywhere, so that a report is one file.

use std::fmt::Write;

/// The drawing's size, and the room for the axes' labels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 42.0;

/// Colours that stay apart for the colour-blind (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Lines of the grid on a linear axis, about.
const GRID_LINES: f64 = 6.0;

/// A bound that is a line of the grid but for rounding shows it.
const ROUNDING: f64 = 1e-6;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
    /// Shares of one as nines: 0.9, 0.99, 0.999 at equal distances.
    Nines,
}

/// An axis.
pub(crate) struct Axis {
    pub(crate) title: &'static str,
    pub(crate) scale: Scale,
}

/// A line with its name.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
            Self::Nines => -(1.0 - value.min(1.0 - 1e-9)).log10(),
        }
    }

    /// Where lines of the grid stand between two places, with their labels.
    fn grid(self, low: f64, high: f64) -> Vec<(f64, String)> {
        match self {
            Self::Linear => {
                let raw = ((high - low) / GRID_LINES).max(f64::MIN_POSITIVE);
                let power = 10_f64.powf(raw.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|it| it * power).find(|it| *it >= raw).unwrap_or(raw);
                let first = (low / step - ROUNDING).ceil() as i64;
                let last = (high / step + ROUNDING).floor() as i64;
                (first..=last).map(|line| line as f64 * step).map(|value| (value, label(value))).collect()
            }
            Self::Logarithmic => {
                let powers = (low - ROUNDING).ceil() as i64..=(high + ROUNDING).floor() as i64;
                powers.map(|power| (power as f64, label(10_f64.powi(power as i32)))).collect()
            }
            Self::Nines => {
                let nines = 0..=(high + ROUNDING).floor() as i64;
                let share = |nines: i64| 100.0 * (1.0 - 10_f64.powi(-(nines as i32)));
                nines.map(|it| (it as f64, format!("{} %", (share(it) * 1e6).round() / 1e6))).collect()
            }
        }
    }
}

/// `1.5k`, `20M`; small numbers as they are.
fn label(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{unit}", (scaled * 100.0).round() / 100.0)
}

/// Text that may stand in HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The lowest and the highest place, apart from each other.
fn bounds(places: impl Iterator<Item = f64>, from_zero: bool) -> (f64, f64) {
    let start = if from_zero { (0.0, 0.0) } else { (f64::INFINITY, f64::NEG_INFINITY) };
    let (low, high) = places.fold(start, |(low, high), place| (low.min(place), high.max(place)));
    if !low.is_finite() || !high.is_finite() {
        (0.0, 1.0)
    } else if high - low < 1e-9 {
        (low, low + 1.0)
    } else {
        (low, high)
    }
}

/// Draws lines; without points the drawing is empty text.
pub(crate) fn draw(x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return String::new();
    }
    let (x_low, x_high) = bounds(points().map(|point| x.scale.place(point.0)), false);
    let (y_low, y_high) = bounds(points().map(|point| y.scale.place(point.1)), y.scale == Scale::Linear);
    let y_high = y_high + (y_high - y_low) * 0.05;
    let place_x = |place: f64| LEFT + (place - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT);
    let place_y = |place: f64| HEIGHT - BOTTOM - (place - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    // Writing to a String cannot fail.
    for (place, text) in x.scale.grid(x_low, x_high) {
        let at = place_x(place);
        let (top, bottom, below) = (TOP, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 15.0);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/><text x=\"{at:.1}\" y=\"{below}\" class=\"middle\">{text}</text>"
        );
    }
    for (place, text) in y.scale.grid(y_low, y_high) {
        let (at, right, beside) = (place_y(place), WIDTH - RIGHT, LEFT - 6.0);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{beside}\" y=\"{:.1}\" class=\"end\">{text}</text>",
            at + 4.0
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        for (index, (x_value, y_value)) in line.points.iter().enumerate() {
            let (at_x, at_y) = (place_x(x.scale.place(*x_value)), place_y(y.scale.place(*y_value)));
            let _ = write!(path, "{}{at_x:.1} {at_y:.1}", if index == 0 { 'M' } else { 'L' });
        }
        let _ = write!(
            svg,
            "<path class=\"line\" stroke=\"{colour}\" d=\"{path}\"><title>{}</title></path>",
            escape(&line.name)
        );
    }
    for (index, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let at = TOP + 14.0 * (index as f64 + 1.0);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{at}\" fill=\"{colour}\" class=\"name\">{}</text>",
            LEFT + 8.0,
            escape(&line.name)
        );
    }
    let (middle_x, low_y, middle_y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6.0, (TOP + HEIGHT - BOTTOM) / 2.0);
    let _ = write!(
        svg,
        "<text x=\"{middle_x}\" y=\"{low_y}\" class=\"middle\">{}</text>\
         <text transform=\"translate(14 {middle_y}) rotate(-90)\" class=\"middle\">{}</text></svg>",
        x.title, y.title
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_holds_its_lines_within_its_frame() {
        let line = Line { name: "a<b".to_owned(), points: vec![(0.0, 10.0), (0.9, 1000.0), (0.999, 20_000.0)] };
        let svg = draw(
            &Axis { title: "share", scale: Scale::Nines },
            &Axis { title: "µs", scale: Scale::Logarithmic },
            &[line],
        );
        assert!(svg.contains("a&lt;b") && svg.contains("99.9 %") && svg.contains(">10k<"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(draw(&Axis { title: "", scale: Scale::Linear }, &Axis { title: "", scale: Scale::Linear }, &[]), "");
    }

    #[test]
    fn one_point_and_equal_values_are_drawn_too() {
        let line = Line { name: "a".to_owned(), points: vec![(1.0, 5.0)] };
        let linear = |title| Axis { title, scale: Scale::Linear };
        let svg = draw(&linear("x"), &linear("y"), &[line]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
