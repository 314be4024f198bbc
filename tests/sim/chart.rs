//! Curves as SVG: axes, lines, a legend. Knows numbers and words; refuses to
//! know what they are of.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
const COLOURS: [&str; 6] = ["#0b5394", "#cc4125", "#38761d", "#b45f06", "#674ea7", "#444444"];

pub struct Chart {
    pub title: String,
    pub x: &'static str,
    pub y: &'static str,
    /// Decades instead of equal steps.
    pub log_x: bool,
    pub y_from: f64,
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Where a value stands between the ends of an axis.
struct Axis {
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, log: bool) -> Axis {
        let to = values.fold(from, f64::max);
        let room = if log { to } else { to + (to - from) * 0.05 };
        Axis { from, to: if room > from { room } else { from + 1.0 }, log }
    }

    fn place(&self, value: f64) -> f64 {
        match self.log {
            true => (value / self.from).ln() / (self.to / self.from).ln(),
            false => (value - self.from) / (self.to - self.from),
        }
    }

    /// Where the marks are: decades, or steps of 1, 2 or 5 in the last place.
    fn marks(&self) -> Vec<f64> {
        if self.log {
            let decades = std::iter::successors(Some(self.from), |at| Some(at * 10.0));
            return decades.take_while(|at| *at <= self.to * 1.01).take(20).collect();
        }
        let raw = (self.to - self.from) / 6.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= raw);
        let step = step.unwrap_or(raw);
        let first = (self.from / step).ceil();
        let marks = (0..20).map(|n| (first + f64::from(n)) * step);
        marks.take_while(|at| *at <= self.to).collect()
    }
}

/// As few digits as say it.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

impl Chart {
    /// There is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|(_, points)| points.is_empty())
    }

    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let least = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
        let x_from = if self.log_x { least.max(1.0) } else { least.min(0.0) };
        let x = Axis::over(points().map(|point| point.0), x_from, self.log_x);
        let y = Axis::over(points().map(|point| point.1), self.y_from, false);
        let (wide, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let at = |px: f64, py: f64| (LEFT + x.place(px) * wide, TOP + high - y.place(py) * high);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, LEFT, 22.0, "start", &self.title);
        text(&mut svg, LEFT + wide / 2.0, HEIGHT - 12.0, "middle", self.x);
        let middle = TOP + high / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{middle}\" transform=\"rotate(-90 16 {middle})\" \
             text-anchor=\"middle\">{}</text>",
            self.y
        );
        for mark in y.marks() {
            let (_, py) = at(x.from, mark);
            line(&mut svg, (LEFT, py), (LEFT + wide, py), "#dddddd");
            text(&mut svg, LEFT - 6.0, py + 4.0, "end", &number(mark));
        }
        for mark in x.marks() {
            let (px, _) = at(mark, y.from);
            line(&mut svg, (px, TOP + high), (px, TOP + high + 5.0), "#444444");
            text(&mut svg, px, TOP + high + 18.0, "middle", &number(mark));
        }
        line(&mut svg, (LEFT, TOP + high), (LEFT + wide, TOP + high), "#444444");
        line(&mut svg, (LEFT, TOP), (LEFT, TOP + high), "#444444");
        for (at_line, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[at_line % COLOURS.len()];
            let places: Vec<(f64, f64)> = points.iter().map(|p| at(p.0, p.1)).collect();
            let path: Vec<String> =
                places.iter().map(|p| format!("{:.1},{:.1}", p.0, p.1)).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            // Where there are few, each is seen.
            for place in places.iter().filter(|_| places.len() <= 12) {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                    place.0, place.1
                );
            }
            let py = TOP + 10.0 + 18.0 * at_line as f64;
            line(&mut svg, (LEFT + wide + 12.0, py - 4.0), (LEFT + wide + 32.0, py - 4.0), colour);
            text(&mut svg, LEFT + wide + 38.0, py, "start", name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" \
         stroke-width=\"1.5\"/>",
        from.0, from.1, to.0, to.1
    );
}

#[test]
fn a_chart_has_its_points_where_they_belong() {
    let lines = vec![("a < b".to_string(), vec![(1.0, 1.0), (10.0, 2.0), (100.0, 1.0)])];
    let chart = Chart { title: "t".into(), x: "x", y: "y", log_x: true, y_from: 1.0, lines };
    let svg = chart.svg();
    let bottom = HEIGHT - BOTTOM;
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    assert!(svg.contains(&format!("points=\"{LEFT:.1},{bottom:.1} {middle:.1},")), "{svg}");
    assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    assert_eq!(Axis { from: 0.0, to: 20.0, log: false }.marks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
}
