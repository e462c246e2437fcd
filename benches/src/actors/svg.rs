//! Line charts as SVG text: both axes logarithmic, four charts in two rows. Pure; knows nothing of what
//! it draws.

use std::fmt::Write as _;

use crate::figures::Quantity;

/// Pixels of one chart, its titles and labels included.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;

/// Pixels around the plane of a chart: left for values, right for names.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 84.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 44.0;

/// Pixels of the title above all charts.
const HEAD: f64 = 44.0;

/// Least distance of two names beside the ends of lines.
const NAME_HEIGHT: f64 = 14.0;

/// Colours of lines, by the order of names; told apart by those who see no red or green, too.
const COLOURS: [&str; 4] = ["#0b62a4", "#d9480f", "#6741d9", "#5c7a29"];

/// One chart.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) quantity: Quantity,
    pub(super) lines: Vec<Line>,
}

/// A line through points (x, y), all above 0, x growing.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Powers of ten around all values of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    first: f64,
    last: f64,
}

impl Axis {
    /// Of values above 0; at least one power of ten wide.
    fn around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let first = values.clone().map(f64::log10).fold(f64::INFINITY, f64::min);
        let last = values.map(f64::log10).fold(f64::NEG_INFINITY, f64::max);
        if first > last {
            return Self { first: 0.0, last: 1.0 };
        }
        // Less than a thousandth beyond a power of ten is that power.
        let (first, last) = ((first + 1e-3).floor(), (last - 1e-3).ceil());
        Self { first, last: last.max(first + 1.0) }
    }

    /// Where a value lies: 0 at the first power, 1 at the last.
    fn at(self, value: f64) -> f64 {
        (value.log10() - self.first) / (self.last - self.first)
    }

    /// The powers of ten on it.
    fn ticks(self) -> impl Iterator<Item = f64> {
        let mut power = self.first;
        std::iter::from_fn(move || {
            let tick = (power <= self.last + 0.5).then(|| 10_f64.powf(power));
            power += 1.0;
            tick
        })
    }
}

/// Draws `charts`, two in a row, under a title.
pub(super) fn draw(title: &str, charts: &[Chart]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for line in charts.iter().flat_map(|chart| &chart.lines) {
        if !names.contains(&line.name) {
            names.push(line.name);
        }
    }
    let (width, height) = (2.0 * WIDTH, HEAD + HEIGHT * 0.5 * even(charts.len()));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, width / 2.0, 28.0, "middle", "font-size=\"17\" font-weight=\"bold\"", title);
    for (number, chart) in charts.iter().enumerate() {
        let column = if number % 2 == 0 { 0.0 } else { WIDTH };
        let row = HEAD + HEIGHT * 0.5 * even(number.saturating_sub(number % 2));
        let _ = writeln!(svg, "<g transform=\"translate({column} {row})\">");
        plane(&mut svg, chart, &names);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// A count, rounded up to an even one.
fn even(count: usize) -> f64 {
    crate::stats::float(count + count % 2)
}

fn plane(svg: &mut String, chart: &Chart, names: &[&str]) {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    // So that a power of ten is a round number in the unit in which it is written.
    let unit = if chart.quantity == Quantity::Bytes { 1.024 } else { 1.0 };
    let across = Axis::around(points().map(|(x, _)| *x));
    let upward = Axis::around(points().map(|(_, y)| *y / unit));
    let x = |value: f64| LEFT + across.at(value) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - upward.at(value / unit) * (HEIGHT - TOP - BOTTOM);
    text(svg, LEFT, 24.0, "start", "font-size=\"13\" font-weight=\"bold\"", chart.title);
    for tick in upward.ticks().map(|tick| tick * unit) {
        rule(svg, (LEFT, y(tick)), (WIDTH - RIGHT, y(tick)));
        text(svg, LEFT - 6.0, y(tick) + 4.0, "end", "", &round(&chart.quantity.text(tick)));
    }
    for tick in across.ticks() {
        rule(svg, (x(tick), TOP), (x(tick), HEIGHT - BOTTOM));
        text(svg, x(tick), HEIGHT - BOTTOM + 18.0, "middle", "", &grouped(tick));
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    text(svg, middle, HEIGHT - BOTTOM + 34.0, "middle", "fill=\"#555\"", "actors");
    let mut ends: Vec<(f64, &str, &str)> = Vec::new();
    for line in chart.lines.iter().filter(|line| !line.points.is_empty()) {
        let place = names.iter().position(|name| *name == line.name).unwrap_or(0);
        let colour = COLOURS[place % COLOURS.len()];
        let at: Vec<String> =
            line.points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            at.join(" ")
        );
        for (a, b) in &line.points {
            let (a_at, b_at, value) = (x(*a), y(*b), chart.quantity.text(*b));
            let _ = writeln!(
                svg,
                "<circle cx=\"{a_at:.1}\" cy=\"{b_at:.1}\" r=\"3.5\" fill=\"{colour}\">\
                 <title>{}, {} actors: {value}</title></circle>",
                line.name,
                grouped(*a)
            );
        }
        if let Some((_, last)) = line.points.last() {
            ends.push((y(*last), line.name, colour));
        }
    }
    for (at, name, colour) in apart(ends) {
        text(svg, WIDTH - RIGHT + 8.0, at + 4.0, "start", &format!("fill=\"{colour}\""), name);
    }
}

/// Moves names down until none covers another.
fn apart<'a>(mut ends: Vec<(f64, &'a str, &'a str)>) -> Vec<(f64, &'a str, &'a str)> {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::NEG_INFINITY;
    for end in &mut ends {
        end.0 = end.0.max(free);
        free = end.0 + NAME_HEIGHT;
    }
    ends
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, more: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>"
    );
}

/// A figure without the zeros behind its point.
fn round(figure: &str) -> String {
    figure.replace(".00 ", " ").replace(".0 ", " ")
}

/// A whole number with a comma between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_powers_of_ten() {
        let around = |values: &[f64]| Axis::around(values.iter().copied());
        assert_eq!(around(&[10.0, 10_000.0]), Axis { first: 1.0, last: 4.0 });
        assert_eq!(around(&[2e-7, 3e-6]), Axis { first: -7.0, last: -5.0 });
        assert_eq!(around(&[5.0]), Axis { first: 0.0, last: 1.0 });
        assert_eq!(around(&[]), Axis { first: 0.0, last: 1.0 });
        let ticks: Vec<String> = around(&[10.0, 10_000.0]).ticks().map(grouped).collect();
        assert_eq!(ticks, ["10", "100", "1,000", "10,000"]);
    }

    #[test]
    fn names_do_not_cover_each_other() {
        let moved = apart(vec![(50.0, "b", ""), (48.0, "a", ""), (90.0, "c", "")]);
        assert_eq!(moved.iter().map(|end| end.1).collect::<String>(), "abc");
        assert!(moved.windows(2).all(|pair| pair[1].0 - pair[0].0 >= NAME_HEIGHT));
        assert_eq!(moved[2].0, 90.0);
    }

    #[test]
    fn a_drawing_is_whole() {
        let line = |name, points: &[(f64, f64)]| Line { name, points: points.to_vec() };
        let chart = Chart {
            title: "a < b",
            quantity: Quantity::Seconds,
            lines: vec![line("Solo", &[(10.0, 1e-6), (100.0, 2e-6)]), line("none", &[])],
        };
        let svg = draw("all", &[chart]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b") && svg.contains("Solo, 100 actors: 2.00 us"), "{svg}");
        assert!(svg.contains(">1 us<") && svg.contains(">10 us<"), "{svg}");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
